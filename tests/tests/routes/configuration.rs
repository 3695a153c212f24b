//! What `hallporter check` says of routes.

use anyhow::{Result, ensure};
use e2e::{Settings, hallporter, run};

const ROUTES: &str = r#"
[manager]
url = "redis://127.0.0.1:1"

[[namespace]]
name = "/chat"
public = true
client_rooms = ["public-*"]

[[namespace]]
name = "/tenant-{id}"

[[route]]
namespace = "/chat"
event = "order.*"
to = "worker:orders"

[[route]]
namespace = "/tenant-{id}"
event = "connect"
to = "http://127.0.0.1:5000/connect?key=hush"

[[route]]
namespace = "*"
event = "disconnect"
to = "worker:gone"

[[route]]
namespace = "/chat"
event = "chat.*"
to = "worker:chat/{session.chat_server}"
parallel = true
timeout = "500ms"

[[route]]
namespace = "/chat"
event = "join"
to = "handler:join"
"#;

async fn check(text: &str, more: &[&str]) -> Result<(i32, String)> {
    let settings = Settings::new(text)?;
    let path = settings.path()?.to_owned();
    let args = ["check", "--config", &path].into_iter().chain(more.iter().copied());
    let ended = run(&hallporter()?, args).await?;
    let text = format!("{}{}", ended.stdout, ended.stderr);
    Ok((ended.code, text.replace(&path, "FILE")))
}

#[tokio::test]
async fn check_explains_which_route_an_event_takes() -> Result<()> {
    for (namespace, event, says) in [
        (
            "/chat",
            "order.new",
            "\"order.new\" in /chat takes route 1 (namespace /chat, event \"order.*\") to worker:orders: \
             within 3s, 1000 in flight at most, those of a client one after the other.\n",
        ),
        (
            "/chat",
            "chat.say",
            "\"chat.say\" in /chat takes route 4 (namespace /chat, event \"chat.*\") to worker:chat/{session.chat_server}: \
             within 500ms, 1000 in flight at most, those of a client in parallel.\n\
             \x20 Route 1 is for the event \"order.*\".\n\
             \x20 Route 2 is for the namespace /tenant-{id}.\n\
             \x20 Route 3 is for the event \"disconnect\".\n",
        ),
        (
            "/tenant-5",
            "connect",
            "\"connect\" in /tenant-5 takes route 2 (namespace /tenant-{id}, event \"connect\") to http://127.0.0.1:5000/connect: \
             within 3s, 1000 in flight at most.\n\
             \x20 Route 1 is for the namespace /chat.\n\
             \x20 /tenant-5 is one of /tenant-{id}.\n",
        ),
        (
            "/chat",
            "disconnect",
            "\"disconnect\" in /chat takes route 3 (namespace *, event \"disconnect\") to worker:gone: \
             many at once, again until it is taken.\n\
             \x20 Route 1 is for the event \"order.*\".\n\
             \x20 Route 2 is for the namespace /tenant-{id}.\n",
        ),
    ] {
        let (code, text) = check(ROUTES, &["--event", namespace, event]).await?;
        assert_eq!((code, text.as_str()), (0, says));
    }
    Ok(())
}

#[tokio::test]
async fn check_explains_who_gets_an_event_that_no_route_takes() -> Result<()> {
    let all = format!("{ROUTES}[[route]]\nnamespace = \"/tenant-{{id}}\"\nevent = \"*\"\nto = \"worker:rest\"\n");
    for (namespace, event, says) in [
        ("/chat", "connect", "takes no route: the namespace is public."),
        (
            "/chat",
            "leave",
            "takes no route: the gateway answers it itself, for the client_rooms public-*.",
        ),
        (
            "/chat",
            "join",
            "takes route 5 (namespace /chat, event \"join\") to handler:join",
        ),
        ("/chat", "typing", "the client is told \"unhandled\"."),
        ("/tenant-5", "join", "takes route 6"),
    ] {
        let (code, text) = check(&all, &["--event", namespace, event]).await?;
        ensure!(code == 0 && text.contains(says), "{namespace} {event}: {code} {text}");
    }
    let (code, text) = check(ROUTES, &["--event", "/nope", "x"]).await?;
    ensure!(
        code == 2 && text.contains("nobody opens the namespace \"/nope\""),
        "{code} {text}"
    );
    let wild = "[[namespace]]\nname = \"/\"\npublic = true\n[[route]]\nevent = \"*\"\nto = \"http://h/\"\n";
    let (_, text) = check(wild, &["--event", "/", "disconnect"]).await?;
    ensure!(
        text.contains("Route 1 is for the event \"*\"; disconnect has to be named."),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn mistakes_in_routes_are_named_with_line_key_and_remedy() -> Result<()> {
    let open = "[[namespace]]\nname = \"/\"\npublic = true\n";
    let redis = "[manager]\nurl = \"redis://127.0.0.1:1\"\n";
    for (text, says) in [
        (
            "[[route]]\nto = \"http://h/\"\n",
            "FILE:4: route.0: the key \"event\" is missing",
        ),
        (
            "[[route]]\nevent = \"x\"\n",
            "FILE:4: route.0: the key \"to\" is missing",
        ),
        (
            "[[route]]\nevent = \"\"\nto = \"http://h/\"\n",
            "FILE:5: route.0.event: must name an event",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"orders\"\n",
            "FILE:6: route.0.to: is no place for events; write \"http://…\", \"worker:GROUP\"",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"http://u:secret@h/\"\n",
            "FILE:6: route.0.to: must not name a user or password; sign",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"worker:a b\"\n",
            "FILE:6: route.0.to: a group, and a type, is named by 1 to 64 letters",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"worker:a/b\"\n",
            "FILE:6: route.0.to: after the type must come",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"worker:a\"\n",
            "FILE:6: route.0.to: workers are reached over a broker, and manager.url is memory://",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"http://h/\"\ntimeout = \"0s\"\n",
            "FILE:7: route.0.timeout: must be longer",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"http://h/\"\nin_flight = 0\n",
            "FILE:7: route.0.in_flight: must be more",
        ),
        (
            "[[route]]\nevent = \"connect\"\nto = \"http://h/\"\nparallel = true\n",
            "FILE:7: route.0.parallel: is for events that go",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"handler:x\"\nparallel = true\n",
            "FILE:7: route.0.parallel: is for events that go",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"http://h/\"\nsecret = \"secret\"\n",
            "FILE:7: route.0.secret: must have 32 bytes",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"http://h/\"\nnamespace = \"chat\"\n",
            "FILE:7: route.0.namespace: must begin with a slash",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"http://h/\"\nnamespace = \"/chat\"\n",
            "FILE:7: route.0.namespace: nobody opens \"/chat\"; there is /.",
        ),
        (
            "[[route]]\nevent = \"x\"\nto = \"http://h/\"\nin_fligt = 1\n",
            "FILE:7: route.0.in_fligt: unknown key; did you mean \"in_flight\"?",
        ),
    ] {
        let (code, found) = check(&format!("{open}{text}"), &[]).await?;
        ensure!(code == 2 && found.contains(says), "{text}{code} {found}");
        ensure!(found.contains("1 mistake ") && !found.contains("secret@"), "{found}");
    }
    let worker = "[[route]]\nevent = \"x\"\nto = \"worker:a\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    let (_, found) = check(&format!("{redis}{open}{worker}"), &[]).await?;
    ensure!(found.contains("route.0.secret: signs HTTP requests"), "{found}");
    Ok(())
}

#[tokio::test]
async fn a_handler_that_is_not_there_is_named_at_the_start() -> Result<()> {
    let text = "listen = \"127.0.0.1:0\"\n[[namespace]]\nname = \"/\"\npublic = true\n[[route]]\nevent = \"x\"\nto = \"handler:y\"\n";
    let settings = Settings::new(text)?;
    let ended = run(&hallporter()?, ["serve", "--config", settings.path()?]).await?;
    ensure!(
        ended.code == 1
            && ended
                .stderr
                .contains("/: route 1 handler:y names the handler \"y\", and there is no handler"),
        "{} {}",
        ended.code,
        ended.stderr
    );
    Ok(())
}
