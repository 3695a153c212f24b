//! What messages may hold, and what they may not.

use bytes::Bytes;

use super::Cluster;
use super::stage::{Stage, emit, rooms};
use crate::{Args, Emit, ManagerError, ManagerOptions, Target};

/// Arguments of any number and kind arrive as they were sent, attachments too.
pub async fn payloads(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &[]);
    b.connect("b1", &[]);
    let large = Bytes::from(vec![7; 100_000]);
    let samples = [
        ("[]", vec![]),
        ("[null]", vec![]),
        ("[null,null]", vec![]),
        ("[[]]", vec![]),
        ("[[1,[2]],{\"a\":{}},\"x\",-1.5e300,true]", vec![]),
        (r#"["é☃😀\u0000\ud83d\ude00\"\\",{"ключ":"値"}]"#, vec![]),
        ("[123456789012345678901234567890]", vec![]),
        (
            r#"[{"_placeholder":true,"num":0}]"#,
            vec![Bytes::from_static(b"\x00\xff")],
        ),
        (
            r#"["n",{"_placeholder":true,"num":0},{"x":[{"_placeholder":true,"num":1}]}]"#,
            vec![large, Bytes::new()],
        ),
        (r#"[{"_placeholder":true,"num":9}]"#, vec![]),
    ];
    let sent: Vec<Emit> = samples
        .into_iter()
        .enumerate()
        .map(|(number, (array, attachments))| Emit {
            args: Args::from_json_array(array, attachments).expect("a sample is JSON"),
            ..emit(Target::all(), &format!("é😀\"\n{number}"), &())
        })
        .collect();
    for emit in &sent {
        a.manager.emit(emit.clone()).await.expect("an emit is published");
    }
    stage.settle(&[&a, &b]).await;
    for received in [a.sockets.received("/", "a1"), b.sockets.received("/", "b1")] {
        assert_eq!(received.len(), sent.len());
        for (received, sent) in received.iter().zip(&sent) {
            assert_eq!(received.event.decode(), sent.event.decode());
            assert_eq!(received.args, sent.args);
        }
    }
}

/// What may be dropped says so on the other host too.
pub async fn volatile(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    b.connect("b1", &[]);
    for volatile in [true, false, true] {
        let emit = Emit {
            volatile,
            ..emit(Target::all(), "e", &1)
        };
        a.manager.emit(emit).await.expect("an emit is published");
    }
    stage.settle(&[&a, &b]).await;
    let flags: Vec<bool> = b.sockets.received("/", "b1").iter().map(|emit| emit.volatile).collect();
    assert_eq!(flags, [true, false, true]);
}

/// Garbage is counted by its reason, and the next message arrives.
pub async fn garbage(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    b.connect("b1", &[]);
    b.connect("b2", &[]);
    let deep = format!(
        r#"{{"method":"emit","event":"e","namespace":"/","data":[{}"#,
        "[".repeat(100_000)
    );
    let large = format!(r#"{{"method":"{}"}}"#, "x".repeat(stage.options.max_message));
    let samples: &[(&str, &[u8])] = &[
        ("pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94."),
        ("not_text", b"{\"method\": \"\xff\xfe\"}"),
        ("not_json", b""),
        ("not_json", b"not JSON"),
        ("not_json", b"\"a string with method\""),
        ("not_json", b"[1,2,3]"),
        ("not_json", b"{\"method\":\"emit\""),
        ("field", b"{}"),
        ("field", br#"{"method":7}"#),
        ("field", br#"{"method":"emit","event":{},"data":[],"namespace":"/"}"#),
        ("field", br#"{"method":"emit","event":"e","data":[],"namespace":"/","room":[]}"#),
        ("field", br#"{"method":"emit","event":"e","namespace":"/"}"#),
        (
            "field",
            br#"{"method":"emit","event":"e","namespace":"/","binary":true,"data":[[{"_placeholder":true,"num":1}],"AA=="]}"#,
        ),
        ("unknown_method", br#"{"method":"dance","namespace":"/"}"#),
        ("room_is_sid", br#"{"method":"close_room","room":"b1","namespace":"/"}"#),
        ("room_is_sid", br#"{"method":"enter_room","sid":"b2","room":"b1","namespace":"/"}"#),
        ("too_deep", deep.as_bytes()),
        ("too_large", large.as_bytes()),
    ];
    let before: Vec<_> = samples.iter().map(|(reason, _)| cluster.rejected(reason)).collect();
    for (number, (_, body)) in samples.iter().enumerate() {
        stage.publish(Bytes::copy_from_slice(body)).await;
        a.emit(rooms(&["b1"]), u32::try_from(number).expect("few samples"))
            .await;
    }
    let host_topic = format!("{}.hallporter", stage.options.channel);
    let host_before = cluster.rejected("host_message");
    for body in ["", "{}", "[]", r#"{"dance":{}}"#, r#"{"alive":{"host":7}}"#] {
        cluster.publish(&host_topic, Bytes::from(body)).await;
    }
    stage.settle(&[&a, &b]).await;
    let expected: Vec<String> = (0..samples.len()).map(|number| format!("e {number}")).collect();
    assert_eq!(b.heard("b1"), expected);
    // Each of the two hosts has counted each sample (what is about a socket, the host that holds it).
    for ((reason, body), before) in samples.iter().zip(before) {
        let told = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let after = cluster.rejected(reason);
        assert!(
            before.is_none() || after > before,
            "{told} was not counted under {reason}"
        );
    }
    let after = cluster.rejected("host_message");
    assert!(
        host_before.is_none() || after > host_before,
        "no host message was counted"
    );
}

/// A message above the limit is an error to who sends it, and rejected by who hears it.
pub async fn too_large(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let small = stage.start(ManagerOptions {
        max_message: 1000,
        ..stage.options.clone()
    });
    small.until_hosts(3).await;
    for (host, sid) in [(&a, "a1"), (&b, "b1"), (&small, "s1")] {
        host.connect(sid, &[]);
    }
    let large = "x".repeat(1000);
    let refused = small.manager.emit(emit(Target::all(), "large", &large)).await;
    assert!(
        matches!(refused, Err(ManagerError::TooLarge { size, limit: 1000, .. }) if size > 1000),
        "{refused:?}"
    );
    assert_eq!(small.heard("s1").len(), 1, "it is done here all the same");
    a.manager
        .emit(emit(Target::all(), "large", &large))
        .await
        .expect("within its limit");
    a.emit(Target::all(), 1).await;
    stage.settle(&[&a, &b, &small]).await;
    assert_eq!(b.heard("b1").len(), 2);
    assert_eq!(small.heard("s1")[1..], ["e 1"]);
}

/// What one emitter sends arrives in the order it was sent, none lost and none twice.
pub async fn in_order(cluster: &dyn Cluster) {
    const COUNT: usize = 5_000;
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &["r"]);
    b.connect("b1", &["r"]);
    let send = async |emitter: &str| {
        let worker = stage.worker();
        for number in 0..COUNT {
            let emit = emit(rooms(&["r"]), emitter, &number);
            worker.emit(emit).await.expect("an emit is published");
        }
    };
    tokio::join!(send("x"), send("y"));
    for (host, sid) in [(&a, "a1"), (&b, "b1")] {
        let came = |sockets: &super::RecordingSockets| sockets.count("/", sid) >= 2 * COUNT;
        host.sockets.until("ten thousand events", came).await;
    }
    stage.settle(&[&a, &b]).await;
    for received in [a.sockets.received("/", "a1"), b.sockets.received("/", "b1")] {
        assert_eq!(received.len(), 2 * COUNT);
        for emitter in ["x", "y"] {
            let of_one = received.iter().filter(|emit| emit.event.decode() == emitter);
            assert!(
                of_one
                    .enumerate()
                    .all(|(number, emit)| emit.args.as_json() == number.to_string()),
                "the events of {emitter} are out of order"
            );
        }
    }
}
