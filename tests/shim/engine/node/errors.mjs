// An app that lets an error go does not end its process: the server is told.
import { sendNotification } from 'runtime/lib/messenger.ts';

export default function registerErrorListeners() {
	process.on('uncaughtException', (error, origin) => sendNotification({ method: origin, params: [error?.stack ?? error] }));
}
