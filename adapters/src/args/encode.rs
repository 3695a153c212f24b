//! Serialising a value into [`Args`]: JSON text with placeholders, attachments beside it.

use bytes::Bytes;
use serde::Serialize;
use serde::ser;

use super::Args;

/// Why a value cannot be the arguments of an event.
#[derive(Debug, thiserror::Error)]
#[error("the data cannot be sent as JSON: {0}")]
pub struct EncodeError(#[from] serde_json::Error);

impl ser::Error for EncodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(ser::Error::custom(message))
    }
}

pub(super) fn encode<T: Serialize + ?Sized>(data: &T) -> Result<Args, EncodeError> {
    let mut encoder = Encoder::default();
    data.serialize(Value {
        encoder: &mut encoder,
        top: true,
    })?;
    // serde_json writes UTF-8 only, and so do the few bytes added here.
    let json = String::from_utf8(encoder.json).map_err(<EncodeError as ser::Error>::custom)?;
    Ok(Args {
        json: json.into(),
        attachments: encoder.attachments,
    })
}

#[derive(Default)]
struct Encoder {
    json: Vec<u8>,
    attachments: Vec<Bytes>,
}

impl Encoder {
    /// Scalars are written by serde_json itself.
    fn scalar<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        Ok(serde_json::to_writer(&mut self.json, value)?)
    }

    /// JSON keys are strings: numbers and booleans are put in quotes, as JavaScript and Python do.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        let text = serde_json::to_string(key)?;
        match text.as_bytes().first() {
            Some(b'"') => self.json.extend_from_slice(text.as_bytes()),
            Some(b'0'..=b'9' | b'-' | b't' | b'f') => {
                self.json.push(b'"');
                self.json.extend_from_slice(text.as_bytes());
                self.json.push(b'"');
            }
            _ => {
                return Err(ser::Error::custom("a key must be a string, a number or a boolean"));
            }
        }
        self.json.push(b':');
        Ok(())
    }

    fn open(
        &mut self,
        variant: Option<&str>,
        bracket: &'static [u8; 2],
        bare: bool,
    ) -> Result<Compound<'_>, EncodeError> {
        if let Some(variant) = variant {
            self.json.push(b'{');
            self.key(variant)?;
        }
        if !bare {
            self.json.push(bracket[0]);
        }
        Ok(Compound {
            bracket: (!bare).then_some(bracket[1]),
            in_variant: variant.is_some(),
            first: true,
            encoder: self,
        })
    }
}

/// One value. The topmost one is the list of arguments when it is a tuple, and the only argument otherwise.
struct Value<'a> {
    encoder: &'a mut Encoder,
    top: bool,
}

impl Value<'_> {
    fn nested(encoder: &mut Encoder) -> Value<'_> {
        Value { encoder, top: false }
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> Result<(), EncodeError> {
            self.encoder.scalar(&value)
        }
    )*};
}

impl<'a> ser::Serializer for Value<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Struct<'a>;
    type SerializeStructVariant = Compound<'a>;

    scalars! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_f32: f32, serialize_f64: f64, serialize_char: char, serialize_str: &str
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), EncodeError> {
        let placeholder = format!(r#"{{"_placeholder":true,"num":{}}}"#, self.encoder.attachments.len());
        self.encoder.json.extend_from_slice(placeholder.as_bytes());
        self.encoder.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.encoder.scalar(&())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Self::nested(self.encoder))
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        if self.top { Ok(()) } else { self.encoder.scalar(&()) }
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        self.encoder.scalar(&())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), EncodeError> {
        self.encoder.scalar(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), EncodeError> {
        value.serialize(Self::nested(self.encoder))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.encoder.json.push(b'{');
        self.encoder.key(variant)?;
        value.serialize(Self::nested(self.encoder))?;
        self.encoder.json.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>, EncodeError> {
        self.encoder.open(None, b"[]", false)
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>, EncodeError> {
        self.encoder.open(None, b"[]", self.top)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, EncodeError> {
        self.encoder.open(None, b"[]", self.top)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, EncodeError> {
        self.encoder.open(Some(variant), b"[]", false)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>, EncodeError> {
        self.encoder.open(None, b"{}", false)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Struct<'a>, EncodeError> {
        if name == RAW_VALUE {
            return Ok(Struct::Raw(self.encoder));
        }
        Ok(Struct::Fields(self.encoder.open(None, b"{}", false)?))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, EncodeError> {
        self.encoder.open(Some(variant), b"{}", false)
    }
}

/// The struct name by which `serde_json::value::RawValue` announces text to be passed through.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

struct Compound<'a> {
    encoder: &'a mut Encoder,
    /// What closes it; none for the list of arguments itself.
    bracket: Option<u8>,
    in_variant: bool,
    first: bool,
}

impl Compound<'_> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.encoder.json.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.comma();
        value.serialize(Value::nested(self.encoder))
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        self.comma();
        self.encoder.key(key)?;
        value.serialize(Value::nested(self.encoder))
    }

    fn close(self) {
        self.encoder.json.extend(self.bracket);
        if self.in_variant {
            self.encoder.json.push(b'}');
        }
    }
}

macro_rules! compounds {
    ($($trait:ident::$method:ident($($key:ident: $key_type:ty)?) => $inner:ident),* $(,)?) => {$(
        impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = EncodeError;

            fn $method<T: Serialize + ?Sized>(&mut self, $($key: $key_type,)? value: &T) -> Result<(), EncodeError> {
                self.$inner($($key,)? value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.close();
                Ok(())
            }
        }
    )*};
}

compounds! {
    SerializeSeq::serialize_element() => element,
    SerializeTuple::serialize_element() => element,
    SerializeTupleStruct::serialize_field() => element,
    SerializeTupleVariant::serialize_field() => element,
    SerializeStructVariant::serialize_field(key: &'static str) => field,
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.comma();
        self.encoder.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Value::nested(self.encoder))
    }

    fn end(self) -> Result<(), EncodeError> {
        self.close();
        Ok(())
    }
}

enum Struct<'a> {
    Fields(Compound<'a>),
    Raw(&'a mut Encoder),
}

impl ser::SerializeStruct for Struct<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        match self {
            Self::Fields(compound) => compound.field(key, value),
            // The one field is the text; serde_json quotes it, and the quotes come off again.
            Self::Raw(encoder) => {
                let text: String = serde_json::from_str(&serde_json::to_string(value)?)?;
                encoder.json.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    fn end(self) -> Result<(), EncodeError> {
        if let Self::Fields(compound) = self {
            compound.close();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::json;
    use serde_json::value::RawValue;

    use crate::Args;

    /// Serialises as bytes, as `bytes::Bytes` and `serde_bytes` do.
    struct Binary(&'static [u8]);

    impl Serialize for Binary {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    fn text<T: Serialize + ?Sized>(data: &T) -> String {
        Args::encode(data).unwrap().as_json().to_owned()
    }

    #[test]
    fn a_tuple_is_several_arguments_and_a_list_is_one() {
        assert_eq!(text(&("a", 2, [3, 4])), r#""a",2,[3,4]"#);
        assert_eq!(text(&vec![1, 2]), "[1,2]");
        assert_eq!(text(&()), "");
        assert_eq!(text(&None::<u8>), "null");
        assert_eq!(text("x"), r#""x""#);
        assert_eq!(text(&((1, 2), ())), "[1,2],null");
    }

    #[test]
    fn bytes_become_attachments_in_order() {
        let args = Args::encode(&("n", Binary(b"\x01"), json!({}), BTreeMap::from([("x", Binary(b""))]))).unwrap();
        assert_eq!(
            args.as_json(),
            r#""n",{"_placeholder":true,"num":0},{},{"x":{"_placeholder":true,"num":1}}"#
        );
        assert_eq!(args.attachments(), [&b"\x01"[..], &b""[..]]);
    }

    #[test]
    fn every_shape_of_the_serde_model_is_as_serde_json_writes_it() {
        #[derive(Serialize)]
        enum Shape {
            Unit,
            New(u8),
            Tuple(u8, char),
            Struct { a: Option<bool>, b: Box<RawValue> },
        }
        let raw = RawValue::from_string("1e400".into()).unwrap();
        let shapes = [
            Shape::Unit,
            Shape::New(1),
            Shape::Tuple(1, 'é'),
            Shape::Struct { a: None, b: raw },
        ];
        for shape in shapes {
            assert_eq!(text(&shape), serde_json::to_string(&shape).unwrap());
        }
        let keys = BTreeMap::from([(1, f64::NAN), (-2, 0.5)]);
        assert_eq!(text(&keys), serde_json::to_string(&keys).unwrap());
        assert_eq!(text(&BTreeMap::from([(true, 'x')])), r#"{"true":"x"}"#);
    }

    #[test]
    fn a_key_that_json_cannot_hold_is_an_error() {
        let error = Args::encode(&BTreeMap::from([(vec![1], 2)])).unwrap_err();
        assert!(error.to_string().contains("a key must be"), "{error}");
    }

    fn json_tree() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|v| json!(v)),
            any::<i64>().prop_map(|v| json!(v)),
            any::<f64>().prop_map(|v| json!(v)),
            any::<String>().prop_map(|v| json!(v)),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|v| json!(v)),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|v| json!(v)),
            ]
        })
    }

    proptest! {
        #[test]
        fn one_value_is_as_serde_json_writes_it(tree in json_tree()) {
            // In a list, since a lone null serialises as `()` does.
            let list = vec![tree];
            prop_assert_eq!(text(&list), serde_json::to_string(&list).unwrap());
        }
    }
}
