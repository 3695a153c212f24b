#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hallporter::fuzzing::python_wire(data));
