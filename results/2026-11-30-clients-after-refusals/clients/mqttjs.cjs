// node mqttjs.cjs PORT VERSION, with NODE_PATH where mqtt is: the defaults, but for the version.
const mqtt = require('mqtt');
const [port, version] = process.argv.slice(2);
const client = mqtt.connect({ host: '127.0.0.1', port: Number(port), clientId: 'c1', protocolVersion: version === '5' ? 5 : 4 });
for (const event of ['connect', 'close', 'end']) client.on(event, () => console.log(event));
client.on('error', (error) => console.log('error', error.message));
setInterval(() => {}, 1000);
