//! What is laid over what: a program's defaults, the file, each with the tables of the chosen `[env.NAME]`, the environment, and flags.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use figment::Figment;
use figment::value::{Dict, Value};

use super::mistake::{Mistake, nearest};
use super::source::{Named, Source};
use super::tree;

/// The environment variables that are read begin with this.
const PREFIX: &str = "HALLPORTER_";

/// The variable that chooses among the tables `[env.NAME]`; no key has this name.
const CHOICE: &str = "HALLPORTER_ENV";

/// Where values come from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A program's own defaults, as TOML.
    pub defaults: &'static str,
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Which tables `[env.NAME]` are laid over what they stand in, as `--env` says; without it, `HALLPORTER_ENV` says which.
    pub env: Option<String>,
    /// The environment: all of it, names and values.
    pub environment: Vec<(String, String)>,
    /// Flags: how the flag was written, its key, its value.
    pub flags: Vec<(String, String, String)>,
    /// Whether no code of the user's takes part, so that it is a mistake when neither a token nor `public` lets anybody in.
    pub standalone: bool,
}

/// The sources, read.
#[derive(Debug)]
pub(super) struct Layers {
    /// What is written in TOML, and its overlays.
    texts: Vec<(Source, BTreeMap<String, Source>)>,
    environment: Vec<Named>,
    flags: Vec<Named>,
    /// Which overlays are chosen, and where that is said.
    choice: Option<(String, &'static str)>,
    pub(super) has_file: bool,
    pub(super) standalone: bool,
}

impl Layers {
    /// # Errors
    /// When a file is none, or not TOML.
    pub(super) fn read(sources: Sources) -> Result<Self, Mistake> {
        let defaults = Source::text("the program's defaults", sources.defaults)?;
        let file = sources.file.map(|path| Source::file(&path)).transpose()?;
        let with_overlays = |mut source: Source| {
            let overlays = source.take_overlays()?;
            Ok((source, overlays))
        };
        let said = |(name, value): &(String, String)| (name == CHOICE && !value.is_empty()).then(|| value.clone());
        let by_variable = sources.environment.iter().find_map(said);
        let variables = sources.environment.into_iter().filter(|(name, _)| name != CHOICE);
        Ok(Self {
            has_file: file.is_some(),
            standalone: sources.standalone,
            texts: std::iter::once(defaults)
                .chain(file)
                .map(with_overlays)
                .collect::<Result<_, _>>()?,
            environment: variables
                .filter_map(|(name, value)| {
                    let key = name.strip_prefix(PREFIX)?.to_lowercase();
                    let path = key.split("__").map(str::to_owned).collect();
                    Some((name, path, value))
                })
                .collect(),
            flags: sources
                .flags
                .into_iter()
                .map(|(flag, key, value)| (flag, key.split('.').map(str::to_owned).collect(), value))
                .collect(),
            choice: match (sources.env, by_variable) {
                (Some(name), _) => Some((name, "--env")),
                (None, by_variable) => by_variable.map(|name| (name, CHOICE)),
            },
        })
    }

    /// The chosen overlays.
    pub(super) fn choice(&self) -> Option<&str> {
        self.choice.as_ref().map(|(name, _)| name.as_str())
    }

    /// The names of all overlays.
    pub(super) fn overlays(&self) -> Vec<&str> {
        let names = self.texts.iter().flat_map(|(_, overlays)| overlays.keys());
        let names: BTreeSet<&str> = names.map(String::as_str).collect();
        names.into_iter().collect()
    }

    /// What is wrong with the choice: there are overlays, but none of that name.
    pub(super) fn wrong_choice(&self) -> Option<Mistake> {
        let (name, place) = self.choice.as_ref()?;
        let known = self.overlays();
        if known.is_empty() || known.contains(&name.as_str()) {
            return None;
        }
        let hint = match nearest(name, &known) {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("known are {}", known.join(", ")),
        };
        Some(Mistake {
            place: (*place).to_owned(),
            key: String::new(),
            problem: format!("there is no table [env.{name}]; {hint}"),
        })
    }

    /// All layers with the overlays of this name, the weakest first.
    ///
    /// # Errors
    /// When two variables, or two flags, contradict each other.
    pub(super) fn under(&self, name: Option<&str>) -> Result<Vec<Source>, Mistake> {
        let mut layers = Vec::new();
        for (text, overlays) in &self.texts {
            layers.push(text.clone());
            layers.extend(name.and_then(|name| overlays.get(name)).cloned());
        }
        let weaker = values(&layers);
        let variables = self.environment.iter().cloned();
        let variables = variables.map(|(name, path, value)| (name, spelled(path, &weaker), value));
        layers.push(Source::named(variables, &weaker)?);
        let flags = Source::named(self.flags.iter().cloned(), &values(&layers))?;
        layers.push(flags);
        Ok(layers)
    }
}

/// The layers as one.
pub(super) fn merged(layers: &[Source]) -> Figment {
    layers.iter().fold(Figment::new(), |merged, layer| merged.merge(layer))
}

fn values(layers: &[Source]) -> Dict {
    merged(layers).extract().unwrap_or_default()
}

/// A path of `[app]` as it is spelled already: names of variables have no small letters, but the user's keys may have capitals.
fn spelled(path: Vec<String>, weaker: &Dict) -> Vec<String> {
    if path.first().is_none_or(|first| first != "app") {
        return path;
    }
    let mut spelled: Vec<String> = Vec::with_capacity(path.len());
    for key in path {
        let known = match tree::find(weaker, &spelled) {
            Some(Value::Dict(_, dict)) if !dict.contains_key(&key) => {
                dict.keys().find(|known| known.eq_ignore_ascii_case(&key)).cloned()
            }
            _ => None,
        };
        spelled.push(known.unwrap_or(key));
    }
    spelled
}

#[cfg(test)]
mod tests {
    use crate::config::{AppConfig, Config, ConfigError, Sources, check, load};

    /// Tests have no file, so a mistake stands in the program's defaults.
    fn sources(toml: &'static str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Sources {
            defaults: toml,
            environment: environment.iter().map(pair).collect(),
            flags: flags
                .iter()
                .map(|(key, value)| (format!("--set {key}"), (*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Sources::default()
        }
    }

    fn app(toml: &'static str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> AppConfig {
        load(sources(toml, environment, flags)).unwrap().app
    }

    fn mistakes(outcome: Result<Config, ConfigError>) -> Vec<String> {
        let mistakes = outcome.unwrap_err().0;
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_path_leads_from_file_environment_and_flags() {
        let toml = "[app.a.b]\nfile = 1\nvariable = 1\nflag = 1\n";
        let variables = [
            ("HALLPORTER_APP__A__B__VARIABLE", "2"),
            ("HALLPORTER_APP__A__B__FLAG", "2"),
        ];
        let app = app(toml, &variables, &[("app.a.b.flag", "3"), ("app.a.new.c", "3")]);
        for (path, value) in [("a.b.file", 1), ("a.b.variable", 2), ("a.b.flag", 3), ("a.new.c", 3)] {
            assert_eq!(app.get::<u8>(path).unwrap(), value, "{path}");
        }
    }

    #[test]
    fn a_variable_finds_the_key_that_has_capitals() {
        let toml = "[app.Mail]\nuserName = \"file\"\nhost = \"file\"\nHost = \"file\"\n";
        let variables = [
            ("HALLPORTER_APP__MAIL__USERNAME", "variable"),
            ("HALLPORTER_APP__MAIL__HOST", "variable"),
            ("HALLPORTER_APP__MAIL__NEW", "variable"),
        ];
        let app = app(toml, &variables, &[]);
        for (path, value) in [
            ("Mail.userName", "variable"),
            ("Mail.host", "variable"),
            ("Mail.Host", "file"),
            ("Mail.new", "variable"),
        ] {
            assert_eq!(app.get::<String>(path).unwrap(), value, "{path}");
        }
    }

    #[test]
    fn values_are_typed_as_in_toml_or_texts() {
        let get = |text: &str| {
            let app = app("", &[("HALLPORTER_APP__X", text)], &[]);
            app.get::<serde_json::Value>("x").unwrap()
        };
        for (text, value) in [
            ("true", serde_json::json!(true)),
            ("-1_000", serde_json::json!(-1000)),
            ("1e3", serde_json::json!(1000.0)),
            ("[1, {a = \"b\"}]", serde_json::json!([1, {"a": "b"}])),
            ("\"42\"", serde_json::json!("42")),
        ] {
            assert_eq!(get(text), value);
        }
        for text in [
            "",
            " padded ",
            "007",
            "1#2",
            "a = 1",
            "[unquoted]",
            "nan",
            "1\nb = 2",
            "2026-01-31",
            "'",
            "\"",
        ] {
            assert_eq!(get(text), text);
        }
    }

    #[test]
    fn a_text_of_the_gateway_stays_as_it_is_written() {
        for key in ["0123", "1.50", "1e5", "+1", "1_0", "0x10", "42", "true"] {
            let config = load(sources("", &[("HALLPORTER_API__KEY", key)], &[])).unwrap();
            assert_eq!(config.api.key.unwrap().reveal(), key);
        }
    }

    #[test]
    fn an_entry_of_a_list_is_set_and_the_others_stay() {
        let toml = "[[app.servers]]\nname = \"a\"\nport = 1\n[[app.servers]]\nname = \"b\"\n";
        let variables = [("HALLPORTER_APP__SERVERS__1__NAME", "variable")];
        let app = app(
            toml,
            &variables,
            &[("app.servers.0.name", "flag"), ("app.servers.2.name", "new")],
        );
        assert_eq!(
            app.get::<serde_json::Value>("servers").unwrap(),
            serde_json::json!([{"name": "flag", "port": 1}, {"name": "variable"}, {"name": "new"}])
        );
        let variables = [("HALLPORTER_APP__SERVERS__9__NAME", "variable")];
        assert_eq!(
            mistakes(load(sources(toml, &variables, &[]))),
            ["HALLPORTER_APP__SERVERS__9__NAME: app.servers.9.name: \"app.servers\" takes no such key"]
        );
    }

    const OVERLAID: &str = "path = \"/base/\"\nlog = \"info\"\n[app]\nname = \"base\"\nkept = 1\n\
        [env.development]\npath = \"/development/\"\n[env.development.app]\nname = \"development\"\n\
        [env.production]\npath = \"/production/\"\nlog = \"warn\"\n";

    #[test]
    fn the_chosen_overlay_lies_below_the_environment() {
        let chosen = |environment: &[(&str, &str)], env: Option<&str>| {
            let sources = Sources {
                env: env.map(str::to_owned),
                ..sources(OVERLAID, environment, &[("log", "debug")])
            };
            let config = load(sources).unwrap();
            assert_eq!(
                (config.log.as_str(), config.app.get::<u8>("kept").unwrap()),
                ("debug", 1)
            );
            (config.path, config.app.get::<String>("name").unwrap())
        };
        let pair = |path: &str, name: &str| (path.to_owned(), name.to_owned());
        assert_eq!(chosen(&[], None), pair("/base/", "base"));
        assert_eq!(chosen(&[("HALLPORTER_ENV", "")], None), pair("/base/", "base"));
        let variable = ("HALLPORTER_ENV", "development");
        assert_eq!(chosen(&[variable], None), pair("/development/", "development"));
        assert_eq!(chosen(&[variable], Some("production")), pair("/production/", "base"));
        let path = ("HALLPORTER_PATH", "/variable/");
        assert_eq!(chosen(&[variable, path], None), pair("/variable/", "development"));
    }

    #[test]
    fn a_choice_that_has_no_table_is_a_mistake_where_others_have_one() {
        let chosen = |toml, name: &str| {
            let environment = [("HALLPORTER_ENV", name)];
            load(sources(toml, &environment, &[]))
        };
        assert_eq!(
            mistakes(chosen(OVERLAID, "prodution")),
            ["HALLPORTER_ENV: there is no table [env.prodution]; did you mean \"production\"?"]
        );
        assert_eq!(
            mistakes(chosen(OVERLAID, "x")),
            ["HALLPORTER_ENV: there is no table [env.x]; known are development, production"]
        );
        assert!(chosen("", "production").is_ok());
    }

    #[test]
    fn mistakes_of_an_overlay_name_its_line_and_key() {
        const WRONG: &str = "lisen = 1\n[env.a]\nlisen = 1\n[env.b.engine]\nping_interval = 3\n[env.b]\npath = \"b\"\n";
        let place = |line: u8| format!("the program's defaults:{line}: ");
        let lisen = "unknown key; did you mean \"listen\"?";
        let expected = [
            format!("{}lisen: {lisen}", place(1)),
            format!("{}env.a.lisen: {lisen}", place(3)),
            format!(
                "{}env.b.engine.ping_interval: 3 is no duration; write it like \"25s\" or \"300ms\"",
                place(5)
            ),
            format!("{}env.b.path: must begin with a slash and name a path", place(7)),
        ];
        assert_eq!(mistakes(check(sources(WRONG, &[], &[]))), expected);
        assert_eq!(mistakes(load(sources(WRONG, &[], &[]))), expected[..1]);
        let a = [("HALLPORTER_ENV", "a")];
        assert_eq!(mistakes(load(sources(WRONG, &a, &[]))).len(), 2);
        assert_eq!(
            mistakes(load(sources("\n[env]\nproduction = 1\n", &[], &[]))),
            ["the program's defaults:3: env.production: must be a table, such as [env.production]"]
        );
    }
}
