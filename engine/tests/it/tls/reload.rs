//! Reload: other authorities are trusted from then on, whatever is wrong with them changes nothing, and no
//! session ends for it (B-CFG-5).

use super::super::harness::authority::Authority;
use super::super::harness::fleet::new_sim;
use super::super::harness::peer::Peer;
use super::super::harness::tls_server::{TlsPeer, TlsServer};
use super::{connecting, engine, started};

fn is_alive(device: &mut Peer, peer: &mut TlsPeer) {
    device.send(&[0xc0, 0]);
    peer.expect(&[0xc0, 0]);
    peer.send(&[0xd0, 0]);
    device.expect(&[0xd0, 0]);
}

#[test]
fn b_cfg_5_a_changed_ca_file_holds_for_new_sessions_alone() {
    let authority = Authority::new("Private Root");
    let server = TlsServer::listen(&authority.server());
    let ringbeam = engine(&authority, server.address());
    let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
    let text = Authority::new("Another Root").pem();
    authority.write("ca.pem", &text);
    assert!(ringbeam.reload());
    is_alive(&mut device, &mut peer);
    // Tickets of the time before do not open what is not trusted any more.
    let mut refused = connecting(&ringbeam, 4);
    assert!(server.try_accept().is_err());
    assert_eq!(refused.rest(), [0x20, 2, 0, 3]);
    ringbeam.wait_for_log(&[("reason", "refused_upstream_tls")]);
    // And back.
    authority.file();
    assert!(ringbeam.reload());
    let (mut second, mut second_peer) = server.session(ringbeam.address(), new_sim(2), 4);
    is_alive(&mut second, &mut second_peer);
    is_alive(&mut device, &mut peer);
}

#[test]
fn b_cfg_4_a_bad_ca_file_is_refused_and_everything_stays_as_it_was() {
    let (authority, server, ringbeam) = started();
    let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
    let leaf = authority.server().chain.concat();
    let cut = authority.pem().replace("-----END", "-----");
    let bad = ["", "no certificate", cut.as_str(), leaf.as_str()];
    for (number, text) in (2..).zip(bad) {
        authority.write("ca.pem", text);
        // A server's certificate may be trusted as it is; every other text holds nothing to trust.
        let is_certificate = text == leaf;
        assert_eq!(ringbeam.reload(), is_certificate, "{text}");
        if !is_certificate {
            assert!(ringbeam.log_text().contains("upstream.ca_file"));
            is_alive(&mut device, &mut peer);
            let (mut new, mut new_peer) = server.session(ringbeam.address(), new_sim(number), 4);
            is_alive(&mut new, &mut new_peer);
        }
    }
}

#[test]
fn tickets_survive_a_reload_that_changes_nothing_of_tls() {
    let (_authority, server, ringbeam) = started();
    let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
    is_alive(&mut device, &mut peer);
    assert!(ringbeam.reload());
    let (_second, second_peer) = server.session(ringbeam.address(), new_sim(2), 4);
    assert!(second_peer.is_resumed());
}
