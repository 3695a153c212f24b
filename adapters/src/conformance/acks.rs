//! Acks find their way back.

use std::time::Duration;

use bytes::Bytes;

use super::Cluster;
use super::recording::PATIENCE;
use super::stage::{Host, Stage, emit, rooms};
use crate::{Ack, AckStream, Args, Emit, ManagerError, Target};

/// A time-out that no case waits for.
const LONG: Duration = Duration::from_secs(60);

/// One that is waited for.
const SHORT: Duration = Duration::from_millis(500);

impl Host {
    async fn ask(&self, emit: Emit, timeout: Duration) -> AckStream {
        let asked = self.manager.emit_with_ack(emit, timeout).await;
        asked.expect("an emit with ack is published")
    }

    /// A socket that answers with its sid and what it was sent.
    fn connect_echo(&self, sid: &str) {
        let answer = format!("\"{sid}\"");
        self.sockets.connect_answering("/", sid, move |emit| {
            let array = format!("[{answer},{}]", emit.args.as_json());
            Some(Args::from_json_array(&array, Vec::new()).expect("what was sent is JSON"))
        });
    }
}

/// All acks in the order of the sids, and how many are missing.
async fn all(stream: AckStream) -> (Vec<Ack>, usize) {
    let ended = tokio::time::timeout(PATIENCE, stream.all()).await;
    let (mut acks, missing) = ended.expect("acks end once all clients have answered, not at their time-out");
    acks.sort_by(|a, b| a.sid.cmp(&b.sid));
    (acks, missing)
}

fn texts(acks: &[Ack]) -> Vec<&str> {
    acks.iter().map(|ack| ack.args.as_json()).collect()
}

/// Two hosts ask at the same time; each is answered what it asked.
pub async fn to_the_asking_host_alone(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b, c] = stage.hosts().await;
    b.connect_echo("b1");
    b.connect_echo("b2");
    for number in 0..10 {
        let of_a = a.ask(emit(rooms(&["b1"]), "e", &("a", number)), LONG).await;
        let of_c = c.ask(emit(rooms(&["b2"]), "e", &("c", number)), LONG).await;
        let (of_a, of_c) = (all(of_a).await, all(of_c).await);
        assert_eq!(
            (texts(&of_a.0), of_a.1),
            (vec![format!("\"b1\",\"a\",{number}").as_str()], 0)
        );
        assert_eq!(
            (texts(&of_c.0), of_c.1),
            (vec![format!("\"b2\",\"c\",{number}").as_str()], 0)
        );
        assert_eq!(of_a.0[0].sid.as_deref(), Some("b1"));
    }
}

/// Acks of a broadcast come from all hosts, the asking one included, and their number is known.
pub async fn from_all_hosts(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b, c] = stage.hosts().await;
    for (host, sids) in [(&a, ["a1", "a2"]), (&b, ["b1", "b2"]), (&c, ["c1", "c2"])] {
        sids.iter().for_each(|sid| host.connect_echo(sid));
    }
    let (acks, missing) = all(a.ask(emit(Target::all(), "e", &1), LONG).await).await;
    let sids: Vec<_> = acks.iter().flat_map(|ack| ack.sid.as_deref()).collect();
    assert_eq!((sids, missing), (vec!["a1", "a2", "b1", "b2", "c1", "c2"], 0));
    // Where nobody is meant there is nothing to wait for.
    for target in [rooms(&["nobody's"]), rooms(&[])] {
        let (acks, missing) = all(a.ask(emit(target, "e", &1), LONG).await).await;
        assert_eq!((texts(&acks), missing), (vec![], 0));
    }
    // Silent clients are counted.
    b.connect("b3", &[]);
    c.connect("c3", &[]);
    let mut stream = a.ask(emit(Target::all(), "e", &1), LONG).await;
    for _ in 0..6 {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await;
        assert!(next.expect("clients answer in time").is_some());
    }
    let silent = a.ask(emit(rooms(&["b3", "c3", "c1"]), "e", &1), SHORT).await;
    let (acks, missing) = all(silent).await;
    assert_eq!((texts(&acks), missing), (vec![r#""c1",1"#], 2));
}

/// A client that does not answer is waited for until the time-out, and not longer.
pub async fn lost(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &[]);
    b.connect("b1", &[]);
    for sid in ["a1", "b1"] {
        let asked = tokio::time::Instant::now();
        let mut stream = a.ask(emit(rooms(&[sid]), "e", &1), SHORT).await;
        let next = tokio::time::timeout(PATIENCE, stream.next()).await;
        assert_eq!(next.expect("the time-out ends it"), None, "{sid}");
        assert_eq!(stream.next().await, None, "it stays ended");
        assert_eq!(stream.missing(), 1, "{sid}");
        assert!(asked.elapsed() >= SHORT, "{sid}");
    }
}

/// Nobody waits for a client that goes without an answer.
pub async fn of_who_goes(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    for sids in [&["a1"][..], &["b1"], &["a1", "b1"]] {
        a.connect("a1", &[]);
        b.connect("b1", &[]);
        let asked = a.ask(emit(rooms(sids), "e", &1), LONG).await;
        for (host, sid) in [(&a, "a1"), (&b, "b1")] {
            let count = usize::from(sids.contains(&sid));
            host.sockets
                .until("an event", |sockets| sockets.count("/", sid) == count)
                .await;
            host.sockets.end("/", sid);
        }
        assert_eq!(all(asked).await.1, sids.len(), "{sids:?}");
    }
}

/// Attachments of an ack survive the way between hosts.
pub async fn binary(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let array = r#"["é",{"x":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]"#;
    let attachments = vec![Bytes::from_static(b"\x00\xff"), Bytes::new()];
    let args = Args::from_json_array(array, attachments).expect("placeholders fit");
    let answer = args.clone();
    b.sockets.connect_answering("/", "b1", move |_| Some(answer.clone()));
    let (acks, missing) = all(a.ask(emit(rooms(&["b1"]), "e", &1), LONG).await).await;
    let sid = Some("b1".to_owned());
    assert_eq!((acks, missing), (vec![Ack { sid, args }], 0));
}

/// Who only writes cannot be answered, and is told so.
pub async fn by_a_worker(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let worker = stage.worker();
    let asked = worker.emit_with_ack(emit(Target::all(), "e", &1), LONG).await;
    assert!(matches!(asked, Err(ManagerError::WriteOnly)), "{asked:?}");
    let asked = worker.sockets("/", &Target::all()).await;
    assert!(matches!(asked, Err(ManagerError::WriteOnly)), "{asked:?}");
}
