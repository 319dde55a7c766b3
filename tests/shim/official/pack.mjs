// The example app, packaged by `rc-apps package` of Rocket.Chat's apps-cli 1.9.0, the newest that npm has.
//
// That version's compiler (apps-compiler 0.1.7) bundles nothing: each of an app's files becomes one of the package's, a dependency none at all, while the engine
// of Rocket.Chat 7 runs the class file alone. So it is given an app of one file: the bundle, and a class over it that names the events, which the compiler
// reads from the source. --force, because its way of finding modules fails on what today's @types/node imports; shim/example/package.mjs has checked the types.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const example = fileURLToPath(new URL('../../../shim/example/', import.meta.url));
const AdmZip = createRequire(join(here, 'package.json'))('adm-zip');

// @bundle: the zip of packExample(). Gives the official one.
export function packOfficially(bundle) {
	const zip = new AdmZip(bundle);
	const { classFile, implements: events } = JSON.parse(zip.readAsText('app.json'));
	const name = classFile.replace(/\.js$/, '');
	const folder = mkdtempSync(join(tmpdir(), 'e2eed-official-'));
	try {
		symlinkSync(join(here, 'node_modules'), join(folder, 'node_modules'));
		writeFileSync(join(folder, 'package.json'), JSON.stringify({ devDependencies: { '@rocket.chat/apps-engine': '^1.46.0' } })); // as app.json, or it changes that
		for (const each of ['app.json', 'icon.png', 'i18n']) cpSync(join(example, each), join(folder, each), { recursive: true });
		writeFileSync(join(folder, `${name}.ts`), [
			'// @ts-nocheck',
			`import { ${events.join(', ')} } from '@rocket.chat/apps-engine/definition/messages';`,
			'const bundled = (() => { const module = { exports: {} }, exports = module.exports;',
			zip.readAsText(classFile),
			'return module.exports; })();',
			`export class ${name} extends bundled.${name} implements ${events.join(', ')} {}`,
		].join('\n'));
		execFileSync(process.execPath, [join(here, 'node_modules', '.bin', 'rc-apps'), 'package', '--force'], {
			cwd: folder, env: { PATH: process.env.PATH, HOME: folder }, stdio: ['ignore', 'pipe', 'pipe'],
		});
		const [packaged] = readdirSync(join(folder, 'dist'));
		return readFileSync(join(folder, 'dist', packaged));
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}
