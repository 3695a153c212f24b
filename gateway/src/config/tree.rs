//! Values by path: the keys of tables and, in lists, the numbers of entries.

use figment::value::{Dict, Value};

pub(super) fn find<'a>(values: &'a Dict, path: &[impl AsRef<str>]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let found = values.get(first.as_ref())?;
    rest.iter().try_fold(found, |value, key| child(value, key.as_ref()))
}

pub(super) fn find_mut<'a>(values: &'a mut Dict, path: &[impl AsRef<str>]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    let found = values.get_mut(first.as_ref())?;
    rest.iter().try_fold(found, |value, key| match value {
        Value::Dict(_, dict) => dict.get_mut(key.as_ref()),
        Value::Array(_, array) => array.get_mut(key.as_ref().parse::<usize>().ok()?),
        _ => None,
    })
}

pub(super) fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(_, dict) => dict.get(key),
        Value::Array(_, array) => array.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Puts a value in its place, and makes the tables above it. A list takes the entries it has, and one after its last.
///
/// # Errors
/// When something else is in the way: how many keys lead to it.
pub(super) fn put(values: &mut Dict, path: &[impl AsRef<str>], value: Value) -> Result<(), usize> {
    match path {
        [] => Err(0),
        [key] => {
            values.insert(key.as_ref().to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => {
            let below = values
                .entry(key.as_ref().to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            put_below(below, rest, value).map_err(|depth| depth + 1)
        }
    }
}

fn put_below(above: &mut Value, path: &[impl AsRef<str>], value: Value) -> Result<(), usize> {
    match (above, path) {
        (Value::Dict(_, dict), path) => put(dict, path, value),
        (Value::Array(_, array), [key, rest @ ..]) => {
            let index = key.as_ref().parse::<usize>().map_err(|_| 0_usize)?;
            if index == array.len() {
                array.push(Value::from(Dict::new()));
            }
            let entry = array.get_mut(index).ok_or(0_usize)?;
            if rest.is_empty() {
                *entry = value;
                return Ok(());
            }
            put_below(entry, rest, value).map_err(|depth| depth + 1)
        }
        _ => Err(0),
    }
}
