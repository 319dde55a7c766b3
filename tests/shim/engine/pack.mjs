// An app package as Rocket.Chat's compiler makes it: the app and what it imports in one CommonJS file, the engine left outside, in a zip with app.json.
import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { engineOf } from './prepare.mjs';

const AdmZip = createRequire(join(engineOf('7.9'), 'package.json'))('adm-zip');

// @folder: app.json and the class file's source; @info: changes to app.json.
export async function packApp(folder, { info = {}, alias = {} } = {}) {
	const json = { ...JSON.parse(readFileSync(join(folder, 'app.json'), 'utf8')), ...info };
	const { outputFiles } = await build({
		entryPoints: [join(folder, json.classFile)], bundle: true, write: false, minify: true, format: 'cjs', platform: 'node', target: 'node20', external: ['@rocket.chat/apps-engine/*'],
		alias, logLevel: 'warning',
	});
	const zip = new AdmZip();
	zip.addFile('app.json', Buffer.from(JSON.stringify({ ...json, classFile: 'main.js' })));
	zip.addFile('main.js', Buffer.from(outputFiles[0].contents));
	zip.addFile(json.iconFile, readFileSync(join(folder, json.iconFile)));
	return zip.toBuffer();
}
