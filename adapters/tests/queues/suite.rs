//! What must hold of the queues of every broker.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use hallporter_adapters::broker::{Broker, BrokerError, QueueLimits, Task, queue_name};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::line::Line;
use crate::servers::PATIENCE;

/// Bounds that can be waited for.
const LIMITS: QueueLimits = QueueLimits {
    length: 100_000,
    patience: Duration::from_secs(2),
};

/// As many as the brokers are promised to carry without loss.
const MANY: usize = 10_000;

/// A broker under test.
pub(crate) trait Place: Sync {
    type Broker: Broker;

    /// Another client, of the server at this port.
    fn broker(&self, port: u16, limits: QueueLimits) -> Self::Broker;

    /// Where the server is, if there is one.
    fn port(&self) -> Option<u16> {
        None
    }

    /// Kills the server with SIGKILL and starts it again.
    async fn restart(&self) {}

    /// What is in the dead-letter queue of a queue.
    async fn dead(&self, queue: &str) -> Vec<Bytes>;
}

/// All cases; those at once that do not disturb each other.
pub(crate) async fn run<P: Place>(place: &P) {
    let apart: [LocalBoxFuture<'_, ()>; 10] = [
        Box::pin(what_is_put_is_taken(place)),
        Box::pin(takers_share_and_hold_no_more_than_they_may(place)),
        Box::pin(done_is_done(place)),
        Box::pin(again_is_another_attempt(place)),
        Box::pin(what_came_back_is_not_kept_waiting_by_what_is_new(place)),
        Box::pin(who_stops_gives_back_at_once(place)),
        Box::pin(what_is_dropped_comes_again(place)),
        Box::pin(who_takes_long_keeps_it(place)),
        Box::pin(what_is_buried_stays_there(place)),
        Box::pin(a_full_queue_says_so(place)),
    ];
    join_all(apart).await;
    many_go_through_two_takers(place).await;
    if place.port().is_some() {
        who_is_killed_loses_nothing(place).await;
        a_restart_loses_nothing(place).await;
    }
}

#[expect(clippy::print_stderr, reason = "the test runner shows it where it is wanted")]
fn note(figures: &str) {
    eprintln!("{figures}");
}

fn broker<P: Place>(place: &P) -> P::Broker {
    place.broker(place.port().unwrap_or_default(), LIMITS)
}

async fn take(broker: &impl Broker, queue: &str, in_hand: usize) -> BoxStream<'static, Task> {
    broker.take(queue, in_hand).await.unwrap()
}

async fn next(tasks: &mut BoxStream<'static, Task>) -> Task {
    let task = timeout(PATIENCE, tasks.next()).await;
    task.expect("a message comes").expect("the stream goes on")
}

/// Long enough for whatever would come again.
async fn nothing_comes(tasks: &mut BoxStream<'static, Task>) {
    let task = timeout(2 * LIMITS.patience, tasks.next()).await;
    assert!(task.is_err(), "{task:?}");
}

async fn put(broker: &impl Broker, queue: &str, body: impl Into<Bytes>) {
    broker.put(queue, body.into()).await.unwrap();
}

async fn what_is_put_is_taken<P: Place>(place: &P) {
    let queue = queue_name("c", "bytes");
    let (giver, taker) = (broker(place), broker(place));
    let early: Bytes = (0..=255).collect::<Vec<u8>>().into();
    put(&giver, &queue, early.clone()).await;
    let mut tasks = take(&taker, &queue, 10).await;
    let task = next(&mut tasks).await;
    assert_eq!((task.body, task.attempt), (early, 1));
    task.hold.done().await.unwrap();
    let large = Bytes::from(vec![b'x'; 900_000]);
    for body in [Bytes::from("{}"), large, Bytes::from("3")] {
        put(&giver, &queue, body.clone()).await;
        let task = next(&mut tasks).await;
        assert!(task.body == body && task.attempt == 1);
        task.hold.done().await.unwrap();
    }
}

async fn takers_share_and_hold_no_more_than_they_may<P: Place>(place: &P) {
    let queue = queue_name("c", "share");
    let (one, other) = (broker(place), broker(place));
    let mut takers = [take(&one, &queue, 3).await, take(&other, &queue, 3).await];
    for number in 0..7 {
        put(&one, &queue, number.to_string()).await;
    }
    let mut held = Vec::new();
    for taker in &mut takers {
        for _ in 0..3 {
            held.push(next(taker).await);
        }
    }
    for taker in &mut takers {
        assert!(taker.next().now_or_never().is_none(), "it has three in hand");
    }
    nothing_comes(&mut takers[0]).await;
    let mut bodies: Vec<Bytes> = held.iter().map(|task| task.body.clone()).collect();
    let [first, ..] = &held[..] else { unreachable!() };
    assert_eq!(first.attempt, 1);
    held.remove(0).hold.done().await.unwrap();
    let last = next(&mut takers[0]).await;
    bodies.push(last.body.clone());
    held.push(last);
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "2", "3", "4", "5", "6"]);
    for task in held {
        task.hold.done().await.unwrap();
    }
}

async fn done_is_done<P: Place>(place: &P) {
    let queue = queue_name("c", "done");
    let giver = broker(place);
    let taker = broker(place);
    let mut tasks = take(&taker, &queue, 10).await;
    for number in 0..5 {
        put(&giver, &queue, number.to_string()).await;
    }
    for _ in 0..5 {
        next(&mut tasks).await.hold.done().await.unwrap();
    }
    drop((tasks, taker));
    let mut tasks = take(&broker(place), &queue, 10).await;
    nothing_comes(&mut tasks).await;
}

async fn again_is_another_attempt<P: Place>(place: &P) {
    let queue = queue_name("c", "again");
    let broker = broker(place);
    put(&broker, &queue, "m").await;
    let mut tasks = take(&broker, &queue, 1).await;
    for attempt in 1..=4 {
        let task = next(&mut tasks).await;
        assert_eq!((&task.body[..], task.attempt), (&b"m"[..], attempt));
        task.hold.again().await.unwrap();
    }
    next(&mut tasks).await.hold.done().await.unwrap();
    nothing_comes(&mut tasks).await;
}

async fn what_came_back_is_not_kept_waiting_by_what_is_new<P: Place>(place: &P) {
    let queue = queue_name("c", "busy");
    let broker = broker(place);
    put(&broker, &queue, "m").await;
    let mut tasks = take(&broker, &queue, 1).await;
    next(&mut tasks).await.hold.again().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        put(&broker, &queue, "new").await;
        put(&broker, &queue, "new").await;
        let task = next(&mut tasks).await;
        if task.body == "m" {
            assert_eq!(task.attempt, 2);
            return task.hold.done().await.unwrap();
        }
        assert!(Instant::now() < deadline, "it does not come");
        // Meanwhile there is no room.
        sleep(Duration::from_millis(20)).await;
        task.hold.done().await.unwrap();
    }
}

/// What a taker has been sent but has not handed out does not wait until it is missed.
async fn who_stops_gives_back_at_once<P: Place>(place: &P) {
    let queue = queue_name("c", "stop");
    let patient = QueueLimits::default();
    let port = place.port().unwrap_or_default();
    let (one, other) = (place.broker(port, patient), place.broker(port, patient));
    for number in 0..10 {
        put(&one, &queue, number.to_string()).await;
    }
    let mut tasks = take(&one, &queue, 10).await;
    let held = next(&mut tasks).await;
    drop(tasks);
    let mut tasks = take(&other, &queue, 20).await;
    for _ in 0..9 {
        let task = next(&mut tasks).await;
        assert_ne!(task.body, held.body);
        task.hold.done().await.unwrap();
    }
    held.hold.done().await.unwrap();
}

async fn what_is_dropped_comes_again<P: Place>(place: &P) {
    let queue = queue_name("c", "drop");
    let broker = broker(place);
    put(&broker, &queue, "m").await;
    let mut tasks = take(&broker, &queue, 1).await;
    drop(next(&mut tasks).await);
    let task = next(&mut tasks).await;
    assert_eq!((&task.body[..], task.attempt), (&b"m"[..], 2));
    task.hold.done().await.unwrap();
}

async fn who_takes_long_keeps_it<P: Place>(place: &P) {
    let queue = queue_name("c", "long");
    let (one, other) = (broker(place), broker(place));
    put(&one, &queue, "m").await;
    let mut tasks = take(&one, &queue, 10).await;
    let task = next(&mut tasks).await;
    let mut others = take(&other, &queue, 10).await;
    nothing_comes(&mut others).await;
    // Also when it takes no more.
    drop(tasks);
    nothing_comes(&mut others).await;
    task.hold.done().await.unwrap();
    put(&one, &queue, "n").await;
    let task = next(&mut others).await;
    assert_eq!((&task.body[..], task.attempt), (&b"n"[..], 1));
    task.hold.done().await.unwrap();
    nothing_comes(&mut others).await;
}

async fn what_is_buried_stays_there<P: Place>(place: &P) {
    let queue = queue_name("c", "bury");
    let broker = broker(place);
    let mut tasks = take(&broker, &queue, 10).await;
    for body in ["good", "bad", "worse"] {
        put(&broker, &queue, body).await;
    }
    for _ in 0..3 {
        let task = next(&mut tasks).await;
        match &task.body[..] {
            b"good" => task.hold.done().await.unwrap(),
            _ => task.hold.bury().await.unwrap(),
        }
    }
    nothing_comes(&mut tasks).await;
    let mut dead = place.dead(&queue).await;
    dead.sort();
    assert_eq!(dead, ["bad", "worse"]);
}

async fn a_full_queue_says_so<P: Place>(place: &P) {
    let queue = queue_name("c", "full");
    let limits = QueueLimits { length: 10, ..LIMITS };
    let broker = place.broker(place.port().unwrap_or_default(), limits);
    let mut taken = 0;
    let refused = loop {
        match broker.put(&queue, Bytes::from("m")).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        // RabbitMQ looks at the length between messages, and may let some more in.
        assert!(taken < 20, "it is never full");
    };
    assert!(matches!(refused, BrokerError::Full), "{refused:?}");
    assert!(taken >= 10, "full at {taken}");
    let mut tasks = take(&broker, &queue, 100).await;
    for _ in 0..taken {
        next(&mut tasks).await.hold.done().await.unwrap();
    }
    let room = async {
        while let Err(error) = broker.put(&queue, Bytes::from("m")).await {
            assert!(matches!(error, BrokerError::Full), "{error:?}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, room).await.expect("there is room again");
}

async fn who_is_killed_loses_nothing<P: Place>(place: &P) {
    let queue = queue_name("c", "killed");
    let giver = broker(place);
    let line = Line::to(place.port().unwrap()).await;
    let mortal = place.broker(line.port, LIMITS);
    for number in 0..3 {
        put(&giver, &queue, number.to_string()).await;
    }
    let mut tasks = take(&mortal, &queue, 3).await;
    let held = [next(&mut tasks).await, next(&mut tasks).await];
    let mut others = take(&giver, &queue, 10).await;
    drop(line);
    let ended = timeout(PATIENCE, async { while tasks.next().await.is_some() {} }).await;
    ended.expect("its stream ends");
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let task = next(&mut others).await;
        assert_eq!(task.attempt, 2);
        bodies.push(task.body.clone());
        task.hold.done().await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "2"]);
    for task in held {
        assert!(task.hold.done().await.is_err(), "the broker cannot have heard of it");
    }
}

/// Takes, again after the connection ended, and tells of all that was done.
fn keep_taking<B: Broker>(broker: B, queue: String, done: mpsc::UnboundedSender<Bytes>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Ok(mut tasks) = broker.take(&queue, 100).await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            while let Some(task) = tasks.next().await {
                let (body, done) = (task.body.clone(), done.clone());
                tokio::spawn(async move {
                    // It has been handled, whatever the broker hears of it.
                    let _ = done.send(body);
                    let _ = task.hold.done().await;
                });
            }
        }
    })
}

/// Puts until it is `over` and that many were taken; returns those.
async fn keep_putting<B: Broker>(broker: B, queue: String, over: CancellationToken) -> HashMap<Bytes, usize> {
    let mut taken = HashMap::new();
    for round in 0.. {
        let puts = (0..100).map(async |number| {
            let body = Bytes::from(format!("{round}.{number}"));
            broker.put(&queue, body.clone()).await.map(|()| body)
        });
        let puts = join_all(puts).await;
        taken.extend(puts.into_iter().flatten().map(|body| (body, 0)));
        if over.is_cancelled() && taken.len() >= MANY {
            break;
        }
        // The broker may be away.
        sleep(Duration::from_millis(5)).await;
    }
    taken
}

async fn handled(done: &mut mpsc::UnboundedReceiver<Bytes>) -> Option<Bytes> {
    timeout(3 * PATIENCE, done.recv()).await.ok().flatten()
}

/// Waits until each of these was handled, and counts those that were handled more than once.
async fn until_handled(done: &mut mpsc::UnboundedReceiver<Bytes>, mut bodies: HashMap<Bytes, usize>) -> usize {
    let mut left = bodies.values().filter(|times| **times == 0).count();
    while left > 0 {
        let body = handled(done).await.unwrap_or_else(|| panic!("{left} are lost"));
        // What was not confirmed may have been put all the same.
        if let Some(times) = bodies.get_mut(&body) {
            *times += 1;
            left -= usize::from(*times == 1);
        }
    }
    bodies.values().map(|times| times.saturating_sub(1)).sum()
}

async fn many_go_through_two_takers<P: Place>(place: &P) {
    let queue = queue_name("c", "many");
    let broker = || place.broker(place.port().unwrap_or_default(), QueueLimits::default());
    let giver = broker();
    let (sender, mut done) = mpsc::unbounded_channel();
    let takers = [(); 2].map(|()| keep_taking(broker(), queue.clone(), sender.clone()));
    let started = Instant::now();
    join_all((0..MANY).map(|number| put(&giver, &queue, number.to_string()))).await;
    let put = started.elapsed();
    let all = (0..MANY).map(|number| (Bytes::from(number.to_string()), 0)).collect();
    let twice = until_handled(&mut done, all).await;
    let all_in = started.elapsed();
    note(&format!("{MANY} put in {put:?}, handled by two in {all_in:?}"));
    assert_eq!(twice, 0, "nothing was killed");
    for taker in takers {
        taker.abort();
    }
}

/// Whatever the broker has taken it has after it was killed.
async fn a_restart_loses_nothing<P: Place>(place: &P) {
    let queue = queue_name("c", "restart");
    let (sender, mut done) = mpsc::unbounded_channel();
    let takers = [(); 2].map(|()| keep_taking(broker(place), queue.clone(), sender.clone()));
    let over = CancellationToken::new();
    let giver = tokio::spawn(keep_putting(broker(place), queue, over.clone()));
    let mut early = Vec::new();
    while early.len() < MANY / 10 {
        early.push(handled(&mut done).await.expect("messages come"));
    }
    place.restart().await;
    over.cancel();
    let mut taken = giver.await.unwrap();
    let count = taken.len();
    for body in early {
        taken.entry(body).and_modify(|times| *times += 1);
    }
    let twice = until_handled(&mut done, taken).await;
    note(&format!("{count} were put around a restart; {twice} came twice"));
    for taker in takers {
        taker.abort();
    }
}
