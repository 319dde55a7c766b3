// An app that says what its sandbox is like: on any message it tries everything, and leaves what it found in its persistence.
import { App } from '@rocket.chat/apps-engine/definition/App';
import { RocketChatAssociationModel, RocketChatAssociationRecord } from '@rocket.chat/apps-engine/definition/metadata';

const tried = (name) => {
	try {
		require(name);
		return 'given';
	} catch {
		return 'refused';
	}
};

export class ProbeApp extends App {
	async look(event, message, read, persistence, modify) {
		const found = {
			event, type: message.type, text: message.text, unmapped: message._unmappedProperties_, room: message.room._unmappedProperties_,
			modules: Object.fromEntries(['net', 'crypto', 'buffer', 'http', 'tls', 'events', 'child_process', 'worker_threads', 'timers'].map((name) => [name, tried(name)])),
			globals: { globalThis: typeof globalThis, Deno: typeof Deno, Buffer: typeof Buffer, setTimeout: typeof setTimeout, process: typeof process },
			runtime: typeof process === 'undefined' ? 'hidden' : process.versions.deno ? `deno ${process.versions.deno}` : `node ${process.versions.node}`,
			own: await read.getEnvironmentReader().getEnvironmentVariables().getValueByName('RC_APPS_0D5B8A4E_6C5E_4A53_9A55_5D6F0D3C7A11_WORD'),
			others: await read.getEnvironmentReader().getEnvironmentVariables().getValueByName('HOME').catch(() => 'refused'),
		};
		if (found.unmapped?.content) {
			const creator = modify.getCreator();
			found.sent = await creator.finish(creator.startMessage({ room: message.room, text: '', _unmappedProperties_: { t: 'e2e', e2e: 'pending', content: found.unmapped.content } }));
		}
		const association = new RocketChatAssociationRecord(RocketChatAssociationModel.MISC, message.id);
		await persistence.createWithAssociation(found, association);
	}

	async executePostMessageSent(message, read, http, persistence, modify) {
		if (message.sender.type !== 'app') await this.look('IPostMessageSent', message, read, persistence, modify);
	}

	async executePostSystemMessageSent(message, read, http, persistence, modify) {
		if (message.sender.type !== 'app') await this.look('IPostSystemMessageSent', message, read, persistence, modify);
	}
}
