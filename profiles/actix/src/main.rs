//! server HOST:PORT CERT KEY IDLE_MS

use actix_web::{web, App, HttpServer};
use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};
use std::{env, time::Duration};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let words: Vec<String> = env::args().collect();
    let idle = Duration::from_millis(words[4].parse().expect("IDLE_MS"));
    let chain = CertificateDer::pem_file_iter(&words[2]).expect("CERT");
    let key = PrivateKeyDer::from_pem_file(&words[3]).expect("KEY");
    let ring = rustls::crypto::ring::default_provider();
    let tls = rustls::ServerConfig::builder_with_provider(ring.into())
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain.map(|one| one.expect("CERT")).collect(), key)
        .expect("they go together");
    HttpServer::new(|| {
        App::new()
            .route("/", web::get().to(|| async { "hello from Actix\n" }))
            .route("/large", web::get().to(|| async { "x".repeat(1 << 20) }))
    })
    .keep_alive(idle)
    .workers(2)
    .bind_rustls_0_23(&words[1], tls)?
    .run()
    .await
}
