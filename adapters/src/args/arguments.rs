//! Reading arguments as a type: the counterpart of [`Args::encode`].

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Error;
use serde_json::value::RawValue;

use super::Args;

/// Arguments to be read: a tuple takes as many as it has fields, anything else the first.
pub(super) struct Arguments<'a>(pub(super) &'a Args);

macro_rules! first {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Error> {
            match self.0.is_empty() {
                true => Missing.$method($($name,)* visitor),
                // Reads one value; what follows is passed over.
                false => serde_json::Deserializer::from_str(self.0.as_json()).$method($($name,)* visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Arguments<'de> {
    type Error = Error;

    first! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_seq() deserialize_map() deserialize_identifier()
        deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let mut rest = Rest(self.0.as_json());
        let tuple = visitor.visit_seq(&mut rest)?;
        match rest.0.is_empty() {
            true => Ok(tuple),
            false => Err(Error::custom(format_args!("more than {len} arguments"))),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.is_empty() {
            true => Missing.deserialize_option(visitor),
            false => serde_json::Deserializer::from_str(self.0.as_json()).deserialize_option(visitor),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// Arguments that are still to be read.
struct Rest<'de>(&'de str);

impl<'de> SeqAccess<'de> for &mut Rest<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter::<&RawValue>();
        let Some(value) = values.next().transpose()? else {
            return seed.deserialize(Missing).map(Some);
        };
        let rest = self.0[values.byte_offset()..].trim_start();
        self.0 = rest.strip_prefix(',').unwrap_or(rest);
        let mut value = serde_json::Deserializer::from_str(value.get());
        seed.deserialize(&mut value).map(Some)
    }
}

/// An argument that was not sent, which only an `Option` takes.
struct Missing;

impl<'de> Deserializer<'de> for Missing {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("an argument is missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use proptest::prelude::*;
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    use super::*;

    fn read<T: DeserializeOwned>(array: &str) -> Result<T, String> {
        let args = Args::from_json_array(array, Vec::new()).unwrap();
        T::deserialize(Arguments(&args)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_tuple_takes_as_many_as_it_has_fields_and_anything_else_the_first() {
        assert_eq!(read::<(u8, String)>(r#"[1 , "a"]"#), Ok((1, "a".into())));
        assert_eq!(read::<(Vec<u8>,)>("[[1,2]]"), Ok((vec![1, 2],)));
        assert_eq!(read::<Vec<u8>>("[[1,2],3]"), Ok(vec![1, 2]));
        assert_eq!(read::<u8>("[1,2]"), Ok(1));
        assert_eq!(read::<()>("[1]"), Ok(()));
        assert_eq!(read::<Option<u8>>("[]"), Ok(None));
        assert_eq!(read::<Option<u8>>("[null]"), Ok(None));
        assert_eq!(read::<(u8, Option<u8>)>("[1]"), Ok((1, None)));
        assert_eq!(read::<(u8, Option<u8>)>("[1,2]"), Ok((1, Some(2))));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (error, expected) in [
            (read::<u8>("[]").unwrap_err(), "an argument is missing"),
            (read::<(u8, u8)>("[1]").unwrap_err(), "an argument is missing"),
            (read::<(u8, u8)>("[1,2,3]").unwrap_err(), "more than 2 arguments"),
            (read::<u8>(r#"["a"]"#).unwrap_err(), "expected u8"),
        ] {
            assert!(error.contains(expected), "{error:?} is not {expected:?}");
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Unit,
        New(u8),
        Two(u8, u8),
        Named { a: Option<bool> },
    }

    fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        let args = Args::encode(value).unwrap();
        assert_eq!(&T::deserialize(Arguments(&args)).unwrap(), value, "{args:?}");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_again(
            text in any::<String>(),
            numbers in prop::collection::vec(any::<i64>(), 0..4),
            map in prop::collection::btree_map(any::<String>(), any::<bool>(), 0..4),
            optional in any::<Option<u32>>(),
        ) {
            survives(&text);
            survives(&numbers);
            survives(&(text.clone(), numbers.clone(), map.clone()));
            survives(&((text,), numbers, optional));
            survives::<BTreeMap<_, _>>(&map);
            for kind in [Kind::Unit, Kind::New(1), Kind::Two(1, 2), Kind::Named { a: Some(true) }] {
                survives(&(kind.clone(), 1));
                survives(&kind);
            }
        }
    }
}
