//! Who is let in by a token, and what its claims become.

use anyhow::Result;
use e2e::raw::WebSocket;
use hallporter::config::Token;
use hallporter::{DisconnectReason, Error, Gateway, Namespace, Refusal, Request, Session, Talk, User};
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use crate::issuer::{forged, in_seconds, token, with_tokens};
use crate::scene::{Host, accepted, ask, client_with, error_of, next, refusal};

async fn serve(tokens: Token, namespace: Namespace) -> Result<Host> {
    Host::start(Gateway::new(with_tokens(tokens)).namespace(namespace)).await
}

/// The code and the message of a refusal for a token.
async fn refused(host: &Host, auth: Value) -> Result<(String, String)> {
    let refusal = refusal(host, auth).await?;
    assert_eq!(refusal["message"], "not authorized");
    let text = |key: &str| refusal["data"][key].as_str().unwrap_or_default().to_owned();
    Ok((text("code"), text("message")))
}

#[tokio::test]
async fn a_token_has_to_be_valid() -> Result<()> {
    let namespace = Namespace::new("/").on("who", async |User(user): User| user);
    let host = serve(Token::default(), namespace).await?;
    let claims = json!({"sub": "ada", "exp": in_seconds(60)});
    for (auth, code) in [
        (json!({}), "token_missing"),
        (json!({"token": ""}), "token_missing"),
        (json!({"token": 7}), "token_missing"),
        (json!({"token": "no JWT"}), "token_invalid"),
        (json!({"token": forged(&claims)}), "token_invalid"),
        (
            json!({"token": token(&json!({"sub": "ada", "exp": in_seconds(-5)}))}),
            "token_expired",
        ),
        (
            json!({"token": token(&json!({"sub": "ada", "nbf": in_seconds(60)}))}),
            "token_not_yet_valid",
        ),
    ] {
        let (got, message) = refused(&host, auth.clone()).await?;
        assert_eq!(got, code, "{auth}");
        assert!(message.contains("token"), "{message}");
    }
    for auth in [token(&claims), format!("Bearer {}", token(&claims))] {
        let (mut socket, _) = client_with(&host, json!({"token": auth})).await?;
        assert_eq!(ask(&mut socket, json!(["who"])).await?, json!(["ada"]));
    }
    Ok(())
}

#[tokio::test]
async fn a_user_is_a_text_or_a_number() -> Result<()> {
    let host = serve(
        Token::default(),
        Namespace::new("/").on("who", async |User(user): User| user),
    )
    .await?;
    let (mut socket, _) = client_with(&host, json!({"token": token(&json!({"sub": 42}))})).await?;
    assert_eq!(ask(&mut socket, json!(["who"])).await?, json!(["42"]));
    let (code, _) = refused(&host, json!({"token": token(&json!({"sub": ""}))})).await?;
    assert_eq!(code, "token_wrong_claim");
    Ok(())
}

#[tokio::test]
async fn claims_become_user_rooms_and_session() -> Result<()> {
    let tokens = Token {
        user_claim: "id".into(),
        rooms_claim: Some("teams".into()),
        session_claims: vec!["name".into(), "missing".into()],
        ..Token::default()
    };
    let namespace = Namespace::new("/")
        // It is all there before the first handler.
        .on_connect(async |session: Session| session.set("seen", &session.user()))
        .on("session", async |session: Session| {
            let (values, _) = session.load()?;
            Ok::<_, Error>((values, session.claims()))
        })
        .on("rooms", async |request: Request, talk: Talk| {
            let sid = request.sid().unwrap_or_default().to_owned();
            let mut rooms = talk.rooms(&sid).await?;
            rooms.retain(|room| *room != sid);
            rooms.sort();
            Ok::<_, Error>(rooms)
        });
    let host = serve(tokens, namespace).await?;
    let claims = json!({"id": 42, "teams": ["red", "blue"], "name": "Ada", "other": 1, "exp": in_seconds(60)});
    let (mut socket, sid) = client_with(&host, json!({"token": token(&claims)})).await?;
    let values = json!({"name": "Ada", "seen": "42"});
    assert_eq!(ask(&mut socket, json!(["session"])).await?, json!([values, claims]));
    let rooms = json!(["blue", "hallporter:user:42", "red"]);
    assert_eq!(ask(&mut socket, json!(["rooms"])).await?, json!([rooms]));
    host.talk.to("red").emit("for red", &1).await?;
    host.talk.to_user("42").emit("for 42", &2).await?;
    assert_eq!(socket.text().await?, r#"42["for red",1]"#);
    assert_eq!(socket.text().await?, r#"42["for 42",2]"#);
    assert_eq!(host.talk.members("blue").await?, [sid]);
    Ok(())
}

/// The rooms that stand for users are not a token's to give.
#[tokio::test]
async fn a_token_joins_no_reserved_room() -> Result<()> {
    let tokens = Token {
        rooms_claim: Some("rooms".into()),
        ..Token::default()
    };
    let host = serve(tokens, Namespace::new("/")).await?;
    let claims = json!({"sub": "eve", "rooms": ["fine", "hallporter:user:ada"]});
    let refused = refusal(&host, json!({"token": token(&claims)})).await?;
    assert_eq!(
        refused,
        json!({
            "message": "the room \"hallporter:user:ada\" is reserved; bind the user instead",
            "data": {"code": "forbidden"}
        })
    );
    assert!(host.talk.members("fine").await?.is_empty());
    assert!(!host.talk.is_online("eve"));
    Ok(())
}

#[tokio::test]
async fn a_socket_goes_when_its_token_expires() -> Result<()> {
    let tokens = Token {
        disconnect_expired: true,
        ..Token::default()
    };
    let (sender, mut gone) = unbounded_channel();
    let namespace = Namespace::new("/")
        .on_disconnect(async move |User(user): User, reason: DisconnectReason| sender.send((user, reason)).is_ok())
        .on("ask", async || "answer");
    let host = serve(tokens, namespace).await?;
    let (mut socket, _) = client_with(
        &host,
        json!({"token": token(&json!({"sub": "ada", "exp": in_seconds(1)}))}),
    )
    .await?;
    let (mut other, _) = client_with(
        &host,
        json!({"token": token(&json!({"sub": "bob", "exp": in_seconds(60)}))}),
    )
    .await?;
    // One second, at most.
    assert_eq!(socket.text().await?, "41");
    let (user, reason) = next(&mut gone).await?;
    assert_eq!(
        (user.as_str(), reason),
        ("ada", DisconnectReason::ServerNamespaceDisconnect)
    );
    assert!(!host.talk.is_online("ada"));
    // The connection is still there, for a new token.
    let renewed = token(&json!({"sub": "ada", "exp": in_seconds(60)}));
    socket.send(&format!("40{}", json!({"token": renewed}))).await?;
    accepted(&mut socket).await?;
    assert_eq!(ask(&mut socket, json!(["ask"])).await?, json!(["answer"]));
    assert_eq!(ask(&mut other, json!(["ask"])).await?, json!(["answer"]));
    Ok(())
}

#[tokio::test]
async fn a_public_namespace_refuses_a_wrong_token_all_the_same() -> Result<()> {
    let namespace = Namespace::new("/").public().on("who", async |User(user): User| user);
    let host = serve(Token::default(), namespace).await?;
    let (code, _) = refused(&host, json!({"token": forged(&json!({"sub": "ada"}))})).await?;
    assert_eq!(code, "token_invalid");
    let (mut nobody, _) = client_with(&host, json!({})).await?;
    assert_eq!(error_of(&mut nobody, json!(["who"])).await?["code"], "unauthenticated");
    let (mut ada, _) = client_with(&host, json!({"token": token(&json!({"sub": "ada"}))})).await?;
    assert_eq!(ask(&mut ada, json!(["who"])).await?, json!(["ada"]));
    Ok(())
}

/// A namespace that asks somebody else too asks for the token first.
#[tokio::test]
async fn on_connect_does_not_replace_the_token() -> Result<()> {
    let on_connect = async |User(user): User| match user.as_str() {
        "eve" => Err(Refusal::new("not eve")),
        _ => Ok(()),
    };
    let host = serve(Token::default(), Namespace::new("/").on_connect(on_connect)).await?;
    assert_eq!(refused(&host, json!({})).await?.0, "token_missing");
    let eve = refusal(&host, json!({"token": token(&json!({"sub": "eve"}))})).await?;
    assert_eq!(eve, json!({"message": "not eve"}));
    client_with(&host, json!({"token": token(&json!({"sub": "ada"}))})).await?;
    Ok(())
}

#[tokio::test]
async fn the_query_counts_only_when_it_may() -> Result<()> {
    let valid = token(&json!({"sub": "ada"}));
    for allow_query in [false, true] {
        let tokens = Token {
            allow_query,
            ..Token::default()
        };
        let host = serve(tokens, Namespace::new("/")).await?;
        let query = format!("EIO=4&transport=websocket&token={valid}");
        let mut socket = WebSocket::connect(&host.address, &query).await?;
        socket.handshake().await?;
        socket.send("40").await?;
        let answer = socket.text().await?;
        assert_eq!(answer.starts_with("40"), allow_query, "{answer}");
    }
    Ok(())
}
