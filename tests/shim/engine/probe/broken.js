// An app that cannot be made: it requires what no sandbox gives.
import { App } from '@rocket.chat/apps-engine/definition/App';
import { execFile } from 'child_process';

export class BrokenApp extends App {
	initialize() {
		return execFile('true');
	}
}
