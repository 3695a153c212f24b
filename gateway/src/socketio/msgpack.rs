//! Socket.IO packets as socket.io-msgpack-parser has them: one object, in msgpack, with binary data where it belongs.
//!
//! Within the gateway arguments are JSON and attachments, so data is rewritten on its way in and out, token by token.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hallporter_adapters::{Args, EventName};
use rmp::Marker;
use rmp::encode::{write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str, write_uint};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::packet::{Kind, NotAPacket, Packet, name_of};
use crate::engine::Outgoing;

/// How deep data may be nested.
const MAX_DEPTH: usize = 128;

/// Reads a packet.
pub(crate) fn decode(data: &[u8]) -> Result<Packet, NotAPacket> {
    let mut reader = Reader {
        rest: data,
        json: Vec::new(),
        attachments: Vec::new(),
    };
    let marker = reader.marker()?;
    let count = reader.map_length(marker)?.ok_or(NotAPacket)?;
    let (mut kind, mut namespace, mut id, mut payload) = (None, None, None, None);
    for _ in 0..count {
        let key: String = reader.read()?;
        let attachments = reader.attachments.len();
        match key.as_str() {
            "type" => kind = Some(reader.read()?),
            "nsp" => namespace = Some(reader.read::<String>()?),
            "id" => id = reader.read()?,
            "data" => payload = Some(reader.text()?),
            _ => drop(reader.text()?),
        }
        if key != "data" {
            reader.attachments.truncate(attachments);
        }
    }
    if !reader.rest.is_empty() {
        return Err(NotAPacket);
    }
    let payload = payload.filter(|payload| payload != "null").unwrap_or_default();
    packet(kind, namespace, id, &payload, reader.attachments)
}

/// Reads a packet that is written as JSON, as the parser does where there is no data.
pub(crate) fn decode_json(text: &str) -> Result<Packet, NotAPacket> {
    #[derive(Deserialize)]
    struct Text<'a> {
        r#type: u8,
        nsp: String,
        id: Option<u64>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let Text { r#type, nsp, id, data } = serde_json::from_str(text).map_err(|_| NotAPacket)?;
    packet(Some(r#type), Some(nsp), id, data.map_or("", RawValue::get), Vec::new())
}

fn packet(
    kind: Option<u8>,
    namespace: Option<String>,
    id: Option<u64>,
    payload: &str,
    attachments: Vec<Bytes>,
) -> Result<Packet, NotAPacket> {
    let kind = match kind.ok_or(NotAPacket)? {
        0 => Kind::Connect,
        1 => Kind::Disconnect,
        2 => Kind::Event,
        3 => Kind::Ack,
        _ => return Err(NotAPacket),
    };
    let namespace = name_of(&namespace.ok_or(NotAPacket)?);
    Packet::new(kind, namespace, id, payload, attachments)
}

/// An event for clients.
pub(super) fn event(namespace: &str, ack: Option<u64>, name: &EventName, args: &Args) -> Outgoing {
    let comma = if args.is_empty() { "" } else { "," };
    let data = format!("[{}{comma}{}]", name.as_json(), args.as_json());
    write(2, namespace, ack, &data, args.attachments())
}

/// The answer to an event of a client.
pub(super) fn ack(namespace: &str, id: u64, args: &Args) -> Outgoing {
    write(3, namespace, Some(id), &args.to_json_array(), args.attachments())
}

/// A packet of another type; `payload` is JSON or empty.
pub(super) fn other(kind: u8, namespace: &str, payload: &str) -> Outgoing {
    write(kind, namespace, None, payload, &[])
}

fn write(kind: u8, namespace: &str, id: Option<u64>, data: &str, attachments: &[Bytes]) -> Outgoing {
    let mut writer = Writer {
        packed: Vec::with_capacity(data.len() + 32),
        attachments,
    };
    // Writing to memory cannot fail; what the text of arguments may hold that msgpack cannot becomes nil.
    let _ = writer.packet(kind, namespace, id, data);
    Outgoing::binary(writer.packed.into())
}

/// From msgpack to JSON.
struct Reader<'a> {
    rest: &'a [u8],
    json: Vec<u8>,
    attachments: Vec<Bytes>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NotAPacket> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(NotAPacket)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotAPacket> {
        self.take(N)?.try_into().map_err(|_| NotAPacket)
    }

    fn marker(&mut self) -> Result<Marker, NotAPacket> {
        Ok(Marker::from_u8(self.array::<1>()?[0]))
    }

    /// A length of so many bytes.
    fn length(&mut self, size: usize) -> Result<usize, NotAPacket> {
        Ok(self
            .take(size)?
            .iter()
            .fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    /// The next value as JSON.
    fn text(&mut self) -> Result<String, NotAPacket> {
        self.json.clear();
        self.value(0)?;
        String::from_utf8(std::mem::take(&mut self.json)).map_err(|_| NotAPacket)
    }

    /// The next value as what it should be.
    fn read<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, NotAPacket> {
        serde_json::from_str(&self.text()?).map_err(|_| NotAPacket)
    }

    fn map_length(&mut self, marker: Marker) -> Result<Option<usize>, NotAPacket> {
        Ok(match marker {
            Marker::FixMap(count) => Some(usize::from(count)),
            Marker::Map16 => Some(self.length(2)?),
            Marker::Map32 => Some(self.length(4)?),
            _ => None,
        })
    }

    fn value(&mut self, depth: usize) -> Result<(), NotAPacket> {
        if depth > MAX_DEPTH {
            return Err(NotAPacket);
        }
        let marker = self.marker()?;
        if let Some(count) = self.map_length(marker)? {
            return self.map(count, depth);
        }
        match marker {
            Marker::Null => self.write(&()),
            Marker::True => self.write(&true),
            Marker::False => self.write(&false),
            Marker::FixPos(number) => self.write(&number),
            Marker::FixNeg(number) => self.write(&number),
            Marker::U8 => self.length(1).and_then(|number| self.write(&number)),
            Marker::U16 => self.length(2).and_then(|number| self.write(&number)),
            Marker::U32 => self.length(4).and_then(|number| self.write(&number)),
            Marker::U64 => self.array().and_then(|bytes| self.write(&u64::from_be_bytes(bytes))),
            Marker::I8 => self.array().and_then(|bytes| self.write(&i8::from_be_bytes(bytes))),
            Marker::I16 => self.array().and_then(|bytes| self.write(&i16::from_be_bytes(bytes))),
            Marker::I32 => self.array().and_then(|bytes| self.write(&i32::from_be_bytes(bytes))),
            Marker::I64 => self.array().and_then(|bytes| self.write(&i64::from_be_bytes(bytes))),
            // What is no number becomes null, as in JavaScript.
            Marker::F32 => self.array().and_then(|bytes| self.write(&f32::from_be_bytes(bytes))),
            Marker::F64 => self.array().and_then(|bytes| self.write(&f64::from_be_bytes(bytes))),
            Marker::FixStr(length) => self.string(usize::from(length)),
            Marker::Str8 => self.length(1).and_then(|length| self.string(length)),
            Marker::Str16 => self.length(2).and_then(|length| self.string(length)),
            Marker::Str32 => self.length(4).and_then(|length| self.string(length)),
            Marker::Bin8 => self.length(1).and_then(|length| self.binary(length)),
            Marker::Bin16 => self.length(2).and_then(|length| self.binary(length)),
            Marker::Bin32 => self.length(4).and_then(|length| self.binary(length)),
            Marker::FixArray(count) => self.list(usize::from(count), depth),
            Marker::Array16 => self.length(2).and_then(|count| self.list(count, depth)),
            Marker::Array32 => self.length(4).and_then(|count| self.list(count, depth)),
            Marker::FixExt1 => self.take(2).and_then(|_| self.write(&())),
            Marker::FixExt4 => self.extension(4),
            Marker::FixExt8 => self.extension(8),
            _ => Err(NotAPacket),
        }
    }

    fn write<T: serde::Serialize>(&mut self, value: &T) -> Result<(), NotAPacket> {
        serde_json::to_writer(&mut self.json, value).map_err(|_| NotAPacket)
    }

    fn string(&mut self, length: usize) -> Result<(), NotAPacket> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| NotAPacket)?;
        self.write(&text)
    }

    fn binary(&mut self, length: usize) -> Result<(), NotAPacket> {
        let data = Bytes::copy_from_slice(self.take(length)?);
        let placeholder = format!(r#"{{"_placeholder":true,"num":{}}}"#, self.attachments.len());
        self.json.extend_from_slice(placeholder.as_bytes());
        self.attachments.push(data);
        Ok(())
    }

    /// Dates, the only extension there is: as milliseconds, or as a timestamp. JSON has them as text.
    fn extension(&mut self, length: usize) -> Result<(), NotAPacket> {
        let kind = self.array::<1>()?[0];
        let number = self
            .take(length)?
            .iter()
            .fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let since = match (kind, length) {
            (0, 8) => Duration::from_millis(number),
            (0xff, 4) => Duration::from_secs(number),
            (0xff, 8) => Duration::new(number & 0x3_ffff_ffff, (number >> 34) as u32 % 1_000_000_000),
            _ => return Err(NotAPacket),
        };
        // Beyond the year 9999, or before 1970, is no date that can be written so.
        let date = SystemTime::UNIX_EPOCH
            .checked_add(since)
            .filter(|_| since.as_secs() < 253_402_300_800);
        match date {
            Some(date) => self.write(&humantime::format_rfc3339_millis(date).to_string()),
            None => self.write(&()),
        }
    }

    fn list(&mut self, count: usize, depth: usize) -> Result<(), NotAPacket> {
        self.json.push(b'[');
        for index in 0..count {
            if index > 0 {
                self.json.push(b',');
            }
            self.value(depth + 1)?;
        }
        self.json.push(b']');
        Ok(())
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<(), NotAPacket> {
        self.json.push(b'{');
        for index in 0..count {
            if index > 0 {
                self.json.push(b',');
            }
            let start = self.json.len();
            self.value(MAX_DEPTH)?;
            match self.json.get(start) {
                Some(b'"') => {}
                Some(b'0'..=b'9' | b'-') => {
                    self.json.insert(start, b'"');
                    self.json.push(b'"');
                }
                _ => return Err(NotAPacket),
            }
            self.json.push(b':');
            self.value(depth + 1)?;
        }
        self.json.push(b'}');
        Ok(())
    }
}

/// From JSON to msgpack.
struct Writer<'a> {
    packed: Vec<u8>,
    attachments: &'a [Bytes],
}

impl Writer<'_> {
    fn packet(&mut self, kind: u8, namespace: &str, id: Option<u64>, data: &str) -> Result<(), std::io::Error> {
        let count = 2 + u32::from(id.is_some()) + u32::from(!data.is_empty());
        write_map_len(&mut self.packed, count)?;
        write_str(&mut self.packed, "type")?;
        write_uint(&mut self.packed, kind.into())?;
        write_str(&mut self.packed, "nsp")?;
        write_str(&mut self.packed, namespace)?;
        if let Some(id) = id {
            write_str(&mut self.packed, "id")?;
            write_uint(&mut self.packed, id)?;
        }
        if !data.is_empty() {
            write_str(&mut self.packed, "data")?;
            let start = self.packed.len();
            let mut json = serde_json::Deserializer::from_str(data);
            if self.deserialize(&mut json).is_err() {
                self.packed.truncate(start);
                write_nil(&mut self.packed)?;
            }
        }
        Ok(())
    }

    /// Leaves room for a length that is not known yet, and returns where.
    fn begin(&mut self, marker: Marker) -> usize {
        self.packed.extend_from_slice(&[marker.to_u8(), 0, 0, 0, 0]);
        self.packed.len()
    }

    fn end(&mut self, start: usize, count: u32) {
        self.packed[start - 4..start].copy_from_slice(&count.to_be_bytes());
    }
}

impl<'de> DeserializeSeed<'de> for &mut Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! scalars {
    ($($visit:ident($type:ty) => $write:ident),*) => {$(
        fn $visit<E: serde::de::Error>(self, value: $type) -> Result<(), E> {
            $write(&mut self.packed, value).map(drop).map_err(E::custom)
        }
    )*};
}

impl<'de> Visitor<'de> for &mut Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    scalars! {
        visit_bool(bool) => write_bool, visit_u64(u64) => write_uint, visit_i64(i64) => write_sint,
        visit_f64(f64) => write_f64, visit_str(&str) => write_str
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        write_nil(&mut self.packed).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let start = self.begin(Marker::Array32);
        let mut count = 0;
        while list.next_element_seed(&mut *self)?.is_some() {
            count += 1;
        }
        self.end(start, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let start = self.begin(Marker::Map32);
        let (mut count, mut is_placeholder, mut num) = (0, false, None);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            write_str(&mut self.packed, &key).map_err(serde::de::Error::custom)?;
            count += 1;
            if key != "_placeholder" && key != "num" {
                map.next_value_seed(&mut *self)?;
                continue;
            }
            let value: Value = map.next_value()?;
            match &*key {
                "num" => num = value.as_u64(),
                _ => is_placeholder = value == true,
            }
            self.deserialize(value).map_err(serde::de::Error::custom)?;
        }
        let attachment = num
            .filter(|_| is_placeholder)
            .and_then(|num| self.attachments.get(usize::try_from(num).ok()?));
        if let Some(data) = attachment {
            self.packed.truncate(start - 5);
            return write_bin(&mut self.packed, data).map_err(serde::de::Error::custom);
        }
        self.end(start, count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::engine::payload::Item;

    fn packed(outgoing: &Outgoing) -> Vec<u8> {
        let items: Vec<_> = outgoing.items().collect();
        let [Item::Binary(data)] = &items[..] else {
            panic!("one binary message")
        };
        data.to_vec()
    }

    #[test]
    fn packets_of_the_javascript_parser() {
        // notepack.encode({type: 2, data: ["hello", {a: Buffer.from([1, 2])}, -1, 1.5, null], nsp: "/", id: 3})
        let bytes = b"\x84\xa4type\x02\xa4data\x95\xa5hello\x81\xa1a\xc4\x02\x01\x02\xff\xcb\x3f\xf8\0\0\0\0\0\0\xc0\xa3nsp\xa1/\xa2id\x03";
        let args = Args::from_json_array(
            r#"[{"a":{"_placeholder":true,"num":0}},-1,1.5,null]"#,
            vec![Bytes::from_static(&[1, 2])],
        );
        let expected = Packet::Event {
            namespace: "/".into(),
            ack: Some(3),
            name: "hello".into(),
            args: args.unwrap(),
        };
        assert_eq!(decode(bytes), Ok(expected));
        let connect = Packet::Connect {
            namespace: "/a".into(),
            auth: Some(json!({"t": 1})),
        };
        assert_eq!(
            decode_json(r#"{"type":0,"nsp":"/a","data":{"t":1}}"#),
            Ok(connect.clone())
        );
        assert_eq!(decode(&packed(&other(0, "/a", r#"{"t":1}"#))), Ok(connect));
        let disconnect = Packet::Disconnect { namespace: "/".into() };
        assert_eq!(decode_json(r#"{"type":1,"nsp":"/"}"#), Ok(disconnect.clone()));
        assert_eq!(decode(b"\x83\xa4type\x01\xa4data\xc0\xa3nsp\xa1/"), Ok(disconnect));
        let date = b"\x83\xa4type\x02\xa4data\x92\xa1e\xd7\x00\x00\x00\x01\x61\x91\xb3\xd5\x7d\xa3nsp\xa1/";
        let Ok(Packet::Event { args, .. }) = decode(date) else {
            panic!("an event")
        };
        assert_eq!(args.as_json(), r#""2018-02-14T00:25:37.405Z""#);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for wrong in [
            &b""[..],
            b"\x80",
            b"\xc0",
            b"\x82\xa4type\x02\xa3nsp\xa1/",
            b"\x82\xa4type\x05\xa3nsp\xa1/",
            b"\x81\xa4type",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd\xff\xff\xff\xff",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x81\xc0\x01",
            &[
                b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data".as_slice(),
                &[0x91; 200],
                b"\x01",
            ]
            .concat(),
        ] {
            assert_eq!(decode(wrong), Err(NotAPacket), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(texts: Vec<String>, numbers: Vec<i64>, data: Vec<u8>, ack: Option<u64>) {
            let json = json!([texts, {"n": numbers, "b": [{"_placeholder": true, "num": 0}]}, null, true, 0.25]);
            let args = Args::from_json_array(&json.to_string(), vec![data.into()]).unwrap();
            let outgoing = event("/n", ack, &EventName::new("é"), &args);
            let Ok(Packet::Event { namespace, ack: got_ack, name, args: got }) = decode(&packed(&outgoing)) else {
                panic!("an event")
            };
            prop_assert_eq!((&*namespace, got_ack, name.as_str()), ("/n", ack, "é"));
            prop_assert_eq!(got.decode::<Value>().unwrap(), json);
            prop_assert_eq!(got.attachments(), args.attachments());
        }

        #[test]
        fn any_bytes_are_a_packet_or_none(data: Vec<u8>) {
            let _ = decode(&data);
        }
    }
}
