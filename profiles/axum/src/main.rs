//! server HOST:PORT CERT KEY IDLE_MS

use axum::{routing::get, Router};
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use std::{env, net::SocketAddr, time::Duration};

#[tokio::main]
async fn main() {
    let words: Vec<String> = env::args().collect();
    let address: SocketAddr = words[1].parse().expect("HOST:PORT");
    let idle = Duration::from_millis(words[4].parse().expect("IDLE_MS"));
    rustls::crypto::ring::default_provider().install_default().expect("no other provider");
    let tls = RustlsConfig::from_pem_file(&words[2], &words[3]).await.expect("CERT and KEY");
    let app = Router::new()
        .route("/", get(|| async { "hello from axum\n" }))
        .route("/large", get(|| async { "x".repeat(1 << 20) }));
    let mut server = axum_server::bind_rustls(address, tls);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(idle);
    server.serve(app.into_make_service()).await.expect("serves");
}
