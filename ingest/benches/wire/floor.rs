//! The floor: a bare HTTP/2 server that throws the bytes away and answers as gRPC does. One thread.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use std::io::Write;
use tokio::net::{TcpListener, TcpStream};

/// Serves until killed; prints its address first.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs a few file handles");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr().expect("it is bound")).and_then(|()| out.flush()).expect("whoever started us reads");
        loop {
            let (stream, _) = listener.accept().await.expect("a few connections only");
            tokio::spawn(connection(stream));
        }
    });
}

async fn connection(stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket takes the option");
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(4 << 20).initial_connection_window_size(4 << 20);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.expect("the driver speaks HTTP/2");
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(piece)) = body.data().await {
                // A stream that is gone needs no window.
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a fixed head");
            let Ok(mut send) = answer.send_response(head, false) else { return };
            let status = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
            // The driver may have gone.
            let _ = send.send_data(Bytes::from_static(&[0; 5]), false).and_then(|()| send.send_trailers(status));
        });
    }
}
