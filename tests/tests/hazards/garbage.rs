//! What is no HTTP, or not meant for a gateway.

use anyhow::Result;
use e2e::raw::connect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::scene::Scene;

fn garbage() -> Vec<Vec<u8>> {
    let request = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").into_bytes();
    let polling = "GET /socket.io/?EIO=4&transport=polling";
    vec![
        vec![0; 10_000],
        vec![0xff; 10_000],
        vec![b'\n'; 10_000],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        request("GET \x00", ""),
        request("GET /socket.io/?EIO=4&transport=polling&sid=\u{e9}\u{1f600}", ""),
        request("GET /socket.io/?EIO=4&transport=polling&sid=%", ""),
        request("GET /socket.io/?%%%&&&===", ""),
        request("GET /socket.io/../../etc/passwd", ""),
        request(&format!("GET /socket.io/?{}", "x".repeat(100_000)), ""),
        request(polling, &format!("x: {}\r\n", "x".repeat(1_000_000))),
        request(polling, &"x: y\r\n".repeat(10_000)),
        request(polling, "content-length: -1\r\n"),
        request(polling, "content-length: 18446744073709551616\r\n"),
        request(
            "POST /socket.io/?EIO=4&transport=polling",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        ),
        request(
            "POST /socket.io/?EIO=4&transport=polling",
            "transfer-encoding: chunked\r\n\r\nzz\r\n",
        ),
        request("CONNECT example.org:443", ""),
        request("OPTIONS *", ""),
    ]
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    for (index, bytes) in garbage().into_iter().enumerate() {
        let mut stream = connect(scene.address()).await?;
        let mut answer = Vec::new();
        // The gateway may answer and end the connection before all is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let _ = timeout(e2e::PATIENCE, stream.read_to_end(&mut answer)).await?;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            !answer.starts_with("HTTP/1.1 5"),
            "number {index} is answered with {answer}"
        );
    }
    scene.ends_well().await
}
