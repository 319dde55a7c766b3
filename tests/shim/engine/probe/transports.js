// An app that says which ways to e2eed its sandbox lets it go: on any message it tries each, by itself and through the client.
import { App } from '@rocket.chat/apps-engine/definition/App';
import { RocketChatAssociationModel, RocketChatAssociationRecord } from '@rocket.chat/apps-engine/definition/metadata';
import { connect } from 'e2eed-client';
import * as net from 'net';

// How the runtime itself answers: 'connected', or the error's name, code and message.
const plainly = (options) => new Promise((resolve) => {
	const refused = ({ name, code, message }) => resolve({ name, code, message });
	try {
		const socket = net.connect(options, () => {
			socket.destroy();
			resolve('connected');
		});
		socket.on('error', refused);
	} catch (error) {
		refused(error);
	}
});

async function throughClient(options) {
	try {
		const client = await connect({ ...options, reconnect: false });
		const { transport, server } = client;
		await client.close();
		return { transport, server };
	} catch ({ name, reason, message, data }) {
		return { name, reason, message, attempts: data?.attempts };
	}
}

export class TransportsApp extends App {
	async executePostMessageSent(message, read, http, persistence) {
		const { plain, client } = JSON.parse(await read.getEnvironmentReader().getEnvironmentVariables().getValueByName('RC_APPS_0D5B8A4E_6C5E_4A53_9A55_5D6F0D3C7A11_WAYS'));
		const found = { plain: {}, client: {} };
		for (const [name, options] of Object.entries(plain)) found.plain[name] = await plainly(options);
		for (const [name, options] of Object.entries(client)) found.client[name] = await throughClient(options);
		await persistence.createWithAssociation(found, new RocketChatAssociationRecord(RocketChatAssociationModel.MISC, message.id));
	}
}
