//! Reading a configuration, and finding everything that is wrong with it at once.

use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind;

use super::mistake::{ConfigError, Mistake, nearest};
use super::source::Source;
use super::validate::validate;
use super::{Config, Namespace};

/// The environment variables that are read begin with this.
const PREFIX: &str = "HALLPORTER_";

/// Mistakes reported at most.
const MAX_MISTAKES: usize = 100;

/// Where values come from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A program's own defaults, as TOML.
    pub defaults: &'static str,
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment: all of it, names and values.
    pub environment: Vec<(String, String)>,
    /// Flags: how the flag was written, its key, its value.
    pub flags: Vec<(String, String, String)>,
}

/// Reads the configuration.
///
/// # Errors
/// Names every mistake: where it is, the key, what is wrong, and what was probably meant.
pub fn load(sources: Sources) -> Result<Config, ConfigError> {
    let has_file = sources.file.is_some();
    let mut layers = layers(sources).map_err(|mistake| ConfigError(vec![mistake]))?;
    let mut mistakes = Vec::new();
    while mistakes.len() < MAX_MISTAKES {
        let merged = layers.iter().fold(Figment::new(), |merged, layer| merged.merge(layer));
        match merged.extract::<Config>() {
            Ok(config) => {
                let config = with_demo(config, has_file, &layers);
                mistakes.extend(
                    validate(&config)
                        .into_iter()
                        .map(|(path, problem)| mistake(&layers, path, problem)),
                );
                mistakes.sort_by_key(|mistake| line_number(&mistake.place));
                return if mistakes.is_empty() {
                    Ok(config)
                } else {
                    Err(ConfigError(mistakes))
                };
            }
            Err(errors) => {
                // The wrong value is taken out, and the rest is read again.
                let Some(error) = errors.into_iter().next() else { break };
                let (path, problem) = explain(error);
                let strongest = layers.iter_mut().rev().find(|layer| layer.has(&path));
                let place = strongest.as_ref().map(|layer| layer.place(&path));
                let removed = strongest.is_some_and(|layer| layer.remove(&path));
                mistakes.push(Mistake {
                    place: place.unwrap_or_else(|| "the configuration".into()),
                    key: path.join("."),
                    problem,
                });
                if !removed {
                    break;
                }
            }
        }
    }
    Err(ConfigError(mistakes))
}

fn layers(sources: Sources) -> Result<Vec<Source>, Mistake> {
    let defaults = Source::text("the program's defaults", sources.defaults)?;
    let file = sources.file.map(|path| Source::file(&path)).transpose()?;
    let variables = sources.environment.into_iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?.to_lowercase();
        let path = key.split("__").map(str::to_owned).collect();
        Some((name, path, value))
    });
    let flags = sources.flags.into_iter().map(|(flag, key, value)| {
        let path = key.split('.').map(str::to_owned).collect();
        (flag, path, value)
    });
    let above = [Source::named(variables), Source::named(flags)];
    Ok(std::iter::once(defaults).chain(file).chain(above).collect())
}

/// The demo is there when nothing was configured, and needs rooms that its visitors may join.
fn with_demo(mut config: Config, has_file: bool, layers: &[Source]) -> Config {
    let demo = *config.demo.get_or_insert(!has_file);
    if demo && !layers.iter().any(|layer| layer.has(&["namespace".to_owned()])) {
        config.namespace = vec![Namespace {
            client_rooms: vec!["*".into()],
            ..Namespace::new("/")
        }];
    }
    config
}

fn mistake(layers: &[Source], path: Vec<String>, problem: String) -> Mistake {
    let layer = layers.iter().rev().find(|layer| layer.has(&path));
    Mistake {
        place: layer.map_or_else(|| "the configuration".into(), |layer| layer.place(&path)),
        key: path.join("."),
        problem,
    }
}

/// The key that is wrong, and why.
fn explain(error: figment::Error) -> (Vec<String>, String) {
    let path = error.path;
    let problem = match error.kind {
        Kind::UnknownField(key, known) => match nearest(&key, known) {
            Some(name) => format!("unknown key; did you mean {name:?}?"),
            None => format!("unknown key; known here are {}", known.join(", ")),
        },
        Kind::UnknownVariant(value, known) => match nearest(&value, known) {
            Some(name) => format!("{value:?} is not known; did you mean {name:?}?"),
            None => format!("{value:?} is not known; choose one of {}", known.join(", ")),
        },
        Kind::InvalidType(actual, expected) => format!("expected {expected}, found {actual}"),
        Kind::InvalidValue(actual, expected) => format!("expected {expected}, found {actual}"),
        Kind::MissingField(name) => format!("the key {name:?} is missing"),
        other => other.to_string(),
    };
    (path, problem)
}

/// So that mistakes of one file come in the order of its lines.
fn line_number(place: &str) -> usize {
    place
        .rsplit(':')
        .next()
        .and_then(|line| line.parse().ok())
        .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn with_file(text: &str) -> (tempfile::NamedTempFile, Sources) {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            ..Sources::default()
        };
        (file, sources)
    }

    fn mistakes(text: &str) -> Vec<String> {
        let (file, sources) = with_file(text);
        let name = format!("{}:", file.path().display());
        let error = load(sources).unwrap_err();
        error
            .0
            .iter()
            .map(|mistake| mistake.to_string().replace(&name, ""))
            .collect()
    }

    #[test]
    fn the_last_source_wins() {
        let (_file, mut sources) = with_file("log = \"file\"\npath = \"/file/\"\n[manager]\nchannel = \"file\"\n");
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        sources.environment = vec![
            variable("HALLPORTER_MANAGER__CHANNEL", "42"),
            variable("HALLPORTER_PATH", "/environment/"),
            variable("HALLPORTER_ENGINE__PING_INTERVAL", "300ms"),
            variable("HALLPORTER_ALLOWED_ORIGINS", "[\"*\"]"),
            variable("PATH", "/bin"),
        ];
        sources.flags = vec![("--path".into(), "path".into(), "/flag/".into())];
        let config = load(sources).unwrap();
        assert_eq!((config.log.as_str(), config.path.as_str()), ("file", "/flag/"));
        assert_eq!(config.manager.channel, "42");
        assert_eq!(config.engine.ping_interval.as_millis(), 300);
        assert_eq!(config.allowed_origins, ["*"]);
    }

    #[test]
    fn the_demo_is_off_once_there_is_a_file() {
        let (_file, sources) = with_file("");
        assert_eq!(load(sources).unwrap().demo, Some(false));
        let config = load(Sources::default()).unwrap();
        assert_eq!(config.demo, Some(true));
        assert_eq!(config.namespace[0].client_rooms, ["*"]);
        let (_file, sources) = with_file("demo = true\n[[namespace]]\nname = \"/\"\n");
        assert!(load(sources).unwrap().namespace[0].client_rooms.is_empty());
    }

    #[test]
    fn every_mistake_is_named_with_its_line_and_what_was_meant() {
        let found = mistakes(
            "lisen = \"127.0.0.1:1\"\n\n[engine]\nping_interval = 25\nmax_payload = \"lots\"\n\n[manager]\nurl = \"kafka://x\"\n\n[[namespace]]\nname = \"/a\"\nclient_room = []\n\n[[namespace]]\nclient_rooms = []\n\n[[namespace]]\nname = \"b\"\n",
        );
        let expected = [
            ("1: lisen: ", "did you mean \"listen\"?"),
            ("4: engine.ping_interval: ", "25 is no duration; write it like \"25s\""),
            ("5: engine.max_payload: ", "is no size"),
            ("8: manager.url: ", "\"kafka\" names no broker"),
            ("12: namespace.0.client_room: ", "did you mean \"client_rooms\"?"),
            ("14: namespace.1: ", "the key \"name\" is missing"),
            ("18: namespace.2.name: ", "must begin with a slash"),
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, (start, part)) in found.iter().zip(expected) {
            assert!(
                found.starts_with(start) && found.contains(part),
                "{found:?} is not {start:?} … {part:?}"
            );
        }
    }

    #[test]
    fn sizes_are_bytes_or_units() {
        let (_file, sources) = with_file("[engine]\nmax_payload = 5000\n[manager]\nmax_message = \"2 MiB\"\n");
        let config = load(sources).unwrap();
        assert_eq!((config.engine.max_payload, config.manager.max_message), (5000, 2 << 20));
    }

    #[test]
    fn a_list_with_a_wrong_entry_is_reported_once() {
        let found = mistakes("listen = 3\n[engine]\ntransports = [\"websockets\", 7]\n[[namespace]]\n[[namespace]]\n");
        let keys: Vec<&str> = found.iter().filter_map(|mistake| mistake.split(": ").nth(1)).collect();
        assert_eq!(
            keys,
            ["listen", "engine.transports.0", "namespace.0", "namespace.1"],
            "{found:#?}"
        );
    }

    #[test]
    fn what_is_no_toml_is_said_to_be_none() {
        let found = mistakes("a = 1\nb = \n");
        assert!(found[0].starts_with("2: is not TOML"), "{found:?}");
        let missing = Sources {
            file: Some("/no/such/file.toml".into()),
            ..Sources::default()
        };
        assert!(
            load(missing)
                .unwrap_err()
                .to_string()
                .starts_with("/no/such/file.toml: cannot be read")
        );
    }

    #[test]
    fn mistakes_in_the_environment_and_in_flags_name_them() {
        let sources = Sources {
            environment: vec![("HALLPORTER_ENGINE__PING".into(), "1s".into())],
            flags: vec![("--set limits.x".into(), "limits.x".into(), "1".into())],
            ..Sources::default()
        };
        let error = load(sources).unwrap_err().to_string();
        assert!(
            error.contains("HALLPORTER_ENGINE__PING: engine.ping: unknown key"),
            "{error}"
        );
        assert!(error.contains("--set limits.x: limits.x: unknown key"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let (_file, sources) = with_file("[api]\nkey = \"hush\"\n[manager]\nurl = \"redis://u:hush@h\"\n");
        let shown = format!("{:?}", load(sources).unwrap());
        assert!(!shown.contains("hush"), "{shown}");
        let found = mistakes("[manager]\nurl = \"redis//u:hush@h\"\n");
        assert!(
            found[0].starts_with("2: manager.url: ") && !found[0].contains("hush"),
            "{found:?}"
        );
    }
}
