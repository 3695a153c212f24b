//! From TOML to the values of a configuration. A time is a text, as it is written.

use figment::value::{Dict, Value};
use toml_edit::{Item, Table};

pub(super) fn table(table: &Table) -> Dict {
    let entries = table
        .iter()
        .filter_map(|(key, item)| Some((key.to_owned(), self::item(item)?)));
    entries.collect()
}

fn item(item: &Item) -> Option<Value> {
    Some(match item {
        Item::None => return None,
        Item::Value(value) => self::value(value),
        Item::Table(table) => self::table(table).into(),
        Item::ArrayOfTables(tables) => tables.iter().map(table).collect::<Vec<_>>().into(),
    })
}

pub(super) fn value(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => text.value().as_str().into(),
        Toml::Integer(number) => (*number.value()).into(),
        Toml::Float(number) => (*number.value()).into(),
        Toml::Boolean(truth) => (*truth.value()).into(),
        Toml::Datetime(time) => time.value().to_string().into(),
        Toml::Array(array) => array.iter().map(self::value).collect::<Vec<_>>().into(),
        Toml::InlineTable(table) => {
            let entries = table.iter().map(|(key, value)| (key.to_owned(), self::value(value)));
            entries.collect::<Dict>().into()
        }
    }
}
