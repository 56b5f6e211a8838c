//! TLS of a listener: what a connection's handshake is answered with, and how passwords are proved inside.

use std::sync::{Arc, Mutex, PoisonError};

use kanon_engine::tls::{ListenerTls, Present};
use rustls::pki_types::CertificateDer;
use tokio_rustls::TlsAcceptor;

use crate::scram::Mechanisms;

/// TLS of a listener, as it is when a connection is made.
pub struct Tls {
    listener: Arc<ListenerTls>,
    /// The mechanisms of what was in force last: they follow its certificate.
    last: Mutex<(Arc<Present>, Mechanisms)>,
}

impl Tls {
    /// Of a node's listeners.
    pub fn new(listener: Arc<ListenerTls>) -> Tls {
        let present = listener.present();
        let mechanisms = Mechanisms::bound_to(&present.certificate);
        Tls { listener, last: Mutex::new((present, mechanisms)) }
    }

    /// The handshake, and how passwords are proved on a connection that is made with it.
    pub fn present(&self) -> (TlsAcceptor, Mechanisms) {
        let present = self.listener.present();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&last.0, &present) {
            *last = (Arc::clone(&present), Mechanisms::bound_to(&present.certificate));
        }
        (TlsAcceptor::from(Arc::clone(&present.postgres)), last.1.clone())
    }
}

/// What TLS gave a connection.
pub struct Encryption {
    /// How passwords are proved.
    pub mechanisms: Mechanisms,
    /// The client's certificate and those that came with it; none if it showed none.
    pub chain: Vec<CertificateDer<'static>>,
}
