//! Reading a configuration, and finding everything that is wrong with it at once.

use figment::error::Kind;

use super::Config;
use super::layers::{Layers, Sources, merged};
use super::mistake::{ConfigError, Mistake, nearest};
use super::source::Source;
use super::validate::{closed, validate};

/// Mistakes reported at most.
const MAX_MISTAKES: usize = 100;

/// Reads the configuration.
///
/// # Errors
/// Names every mistake: where it is, the key, what is wrong, and what was probably meant.
pub fn load(sources: Sources) -> Result<Config, ConfigError> {
    read_all(sources, |_| Vec::new())
}

/// Reads the configuration, and looks for mistakes also in the tables `[env.NAME]` that are not chosen.
///
/// # Errors
/// As [`load`] does, for all of them.
pub fn check(sources: Sources) -> Result<Config, ConfigError> {
    read_all(sources, Layers::overlays)
}

/// Reads the configuration, and the mistakes of these overlays besides the chosen one's.
fn read_all(sources: Sources, others: impl Fn(&Layers) -> Vec<&str>) -> Result<Config, ConfigError> {
    let layers = Layers::read(sources).map_err(|mistake| ConfigError(vec![mistake]))?;
    let mut mistakes = Vec::from_iter(layers.wrong_choice());
    let config = read(&layers, layers.choice(), &mut mistakes);
    for name in others(&layers) {
        read(&layers, Some(name), &mut mistakes);
    }
    mistakes.sort_by_key(|mistake| line_number(&mistake.place));
    mistakes.truncate(MAX_MISTAKES);
    config.filter(|_| mistakes.is_empty()).ok_or(ConfigError(mistakes))
}

/// Reads the configuration with the overlays of this name, and adds the mistakes that are not known yet.
fn read(sources: &Layers, overlay: Option<&str>, mistakes: &mut Vec<Mistake>) -> Option<Config> {
    let extracted = sources
        .under(overlay)
        .map_err(|mistake| vec![mistake])
        .and_then(|layers| extract(sources, layers));
    match extracted {
        Ok(config) => Some(config),
        Err(found) => {
            for mistake in found {
                if !mistakes.contains(&mistake) {
                    mistakes.push(mistake);
                }
            }
            None
        }
    }
}

fn extract(sources: &Layers, mut layers: Vec<Source>) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut taken: Vec<Vec<String>> = Vec::new();
    while mistakes.len() < MAX_MISTAKES {
        match merged(&layers).extract::<Config>() {
            Ok(mut config) => {
                config.demo.get_or_insert(!sources.has_file);
                // What was taken out might have let somebody in.
                let is_complete = sources.standalone && mistakes.is_empty();
                let closed = if is_complete { closed(&config) } else { Vec::new() };
                let wrong = validate(&config).into_iter().chain(closed);
                mistakes.extend(wrong.map(|(path, problem)| mistake(&layers, &path, problem)));
                return if mistakes.is_empty() { Ok(config) } else { Err(mistakes) };
            }
            Err(errors) => {
                // The wrong value is taken out, and the rest is read again.
                let Some(error) = errors.into_iter().next() else { break };
                let missing = missing(&error);
                let (path, problem) = explain(error);
                // What was wrong and is out for that is not missing besides.
                if !missing.is_some_and(|missing| taken.iter().any(|taken| taken.starts_with(&missing))) {
                    mistakes.push(mistake(&layers, &path, problem));
                }
                taken.push(path.clone());
                let strongest = layers.iter_mut().rev().find(|layer| layer.has(&path));
                if !strongest.is_some_and(|layer| layer.remove(&path)) {
                    break;
                }
            }
        }
    }
    Err(mistakes)
}

fn mistake(layers: &[Source], path: &[String], problem: String) -> Mistake {
    let layer = layers.iter().rev().find(|layer| layer.has(path));
    Mistake {
        place: layer.map_or_else(|| "the configuration".into(), |layer| layer.place(path)),
        key: layer.map_or_else(|| path.join("."), |layer| layer.key(path)),
        problem,
    }
}

/// The key that is missing.
fn missing(error: &figment::Error) -> Option<Vec<String>> {
    match &error.kind {
        Kind::MissingField(name) => Some([&error.path[..], &[name.to_string()]].concat()),
        _ => None,
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
        assert_eq!(config.namespaces(false)[0].client_rooms, ["*"]);
        let (_file, sources) = with_file("demo = true\n[[namespace]]\nname = \"/\"\n");
        assert!(load(sources).unwrap().namespaces(false)[0].client_rooms.is_empty());
    }

    #[test]
    fn the_only_namespace_is_public_unless_there_are_tokens() {
        assert!(load(Sources::default()).unwrap().namespaces(false)[0].public);
        let (_file, sources) = with_file("");
        assert!(load(sources).unwrap().namespaces(false)[0].public);
        let (_file, sources) = with_file("[token]\nsecret = \"0123456789abcdef0123456789abcdef\"\n");
        assert!(!load(sources).unwrap().namespaces(false)[0].public);
    }

    #[test]
    fn a_namespace_nobody_can_connect_to_is_a_mistake_unless_there_is_code() {
        let text = "[[namespace]]\nname = \"/\"\npublic = true\n\n[[namespace]]\nname = \"/chat\"\n";
        let (_file, sources) = with_file(text);
        assert!(load(sources.clone()).is_ok());
        let standalone = Sources {
            standalone: true,
            ..sources
        };
        let error = load(standalone.clone()).unwrap_err().to_string();
        assert!(
            error.ends_with(
                ":5: namespace.1: nobody can connect to \"/chat\": say public = true here, or configure [token]"
            ),
            "{error}"
        );
        for wrong in [
            "[[namespace]]\nname = \"/\"\npubic = true\n",
            "token = 3\n[[namespace]]\nname = \"/\"\n",
        ] {
            let (_file, sources) = with_file(wrong);
            let sources = Sources {
                standalone: true,
                ..sources
            };
            assert_eq!(load(sources).unwrap_err().0.len(), 1, "{wrong}");
        }
        let secret = (
            "HALLPORTER_TOKEN__SECRET".into(),
            "a secret of thirty-two bytes, at least".into(),
        );
        let with_tokens = Sources {
            environment: vec![secret],
            ..standalone
        };
        assert!(load(with_tokens).is_ok());
    }

    #[test]
    fn mistakes_about_tokens_are_named() {
        for (text, says) in [
            (
                "[token]\n",
                "1: token: must have exactly one of secret, key_file and jwks_file",
            ),
            (
                "[token]\nsecret = \"hush\"\njwks_file = \"keys.json\"\n",
                "1: token: must have exactly one",
            ),
            (
                "[token]\nsecret = \"hush\"\n",
                "2: token.secret: must have a secret of 32 bytes",
            ),
            (
                "[token]\nissuer = [\"a\"]\nkey_file = \"/no/such/key.pem\"\n",
                "3: token.key_file: /no/such/key.pem cannot be read: No such file",
            ),
            (
                "[token]\nleeway = \"2h\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n",
                "2: token.leeway: must allow a leeway of an hour",
            ),
            (
                "[token]\naudience = [[]]\nsecret = \"hush\"\n",
                "2: token.audience: must be a text or a list",
            ),
        ] {
            let found = mistakes(text);
            assert!(found[0].starts_with(says) && !found[0].contains("hush"), "{found:?}");
        }
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
    fn a_server_has_a_name_of_its_own() {
        let (_file, sources) = with_file("[instance]\nid = \"chat-1.a\"\ntype = \"chat\"\n");
        let named = load(sources).unwrap().manager_options();
        assert_eq!(
            (named.instance.as_deref(), named.instance_type.as_str()),
            (Some("chat-1.a"), "chat")
        );
        let environment = vec![("HALLPORTER_INSTANCE__ID".into(), "7".into())];
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        let named = load(sources).unwrap().manager_options();
        assert_eq!(
            (named.instance.as_deref(), named.instance_type.as_str()),
            (Some("7"), "gateway")
        );
        let long = format!("[instance]\nid = \"{}\"\n", "a".repeat(65));
        for (text, says) in [
            ("[instance]\nid = \"\"\n", "2: instance.id: must be 1 to 64 letters"),
            (
                "[instance]\nid = \"chat 1\"\n",
                "2: instance.id: must be 1 to 64 letters",
            ),
            (long.as_str(), "2: instance.id: must be 1 to 64 letters"),
            (
                "[instance]\ntype = \"a/b\"\n",
                "2: instance.type: must be 1 to 64 letters",
            ),
        ] {
            let found = mistakes(text);
            assert!(found.len() == 1 && found[0].starts_with(says), "{found:?}");
        }
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
