//! rumqttc-client PORT VERSION: the event loop is polled on, a second after an error, as its examples do.

use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let port: u16 = arguments[1].parse().unwrap();
    if arguments[2] == "5" {
        let options = rumqttc::v5::MqttOptions::new("c1", "127.0.0.1", port);
        let (_client, mut events) = rumqttc::v5::AsyncClient::new(options, 10);
        loop {
            report(events.poll().await.map(drop).map_err(|error| error.to_string())).await;
        }
    } else {
        let options = rumqttc::MqttOptions::new("c1", "127.0.0.1", port);
        let (_client, mut events) = rumqttc::AsyncClient::new(options, 10);
        loop {
            report(events.poll().await.map(drop).map_err(|error| error.to_string())).await;
        }
    }
}

async fn report(polled: Result<(), String>) {
    if let Err(error) = polled {
        println!("error: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
