// The app's package, as Rocket.Chat's own compiler makes one: types checked against the engine's, TypeScript to ES2017, the app and what it imports in
// one minified CommonJS file with the engine left outside, in a zip with app.json, icon and i18n. The zip is the same bytes each time.
//
// `npm run package` writes it to dist/.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import ts from 'typescript';
import { zip } from './zip.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const require = createRequire(import.meta.url);
const read = (...path) => readFileSync(join(here, ...path));

/** The engine's events that the class says it implements: the server calls the app for no other. */
function implemented(classFile) {
	const { AppInterface } = require('@rocket.chat/apps-engine/definition/metadata');
	return ts.createSourceFile(classFile, String(read(classFile)), ts.ScriptTarget.ES2017).statements
		.filter(ts.isClassDeclaration)
		.flatMap(({ heritageClauses = [] }) => heritageClauses)
		.filter(({ token }) => token === ts.SyntaxKind.ImplementsKeyword)
		.flatMap(({ types }) => types.map(({ expression }) => expression.text))
		.filter((name) => name in AppInterface);
}

/** The app's code in one file. Throws when the types do not fit. */
async function bundled(classFile) {
	const folder = mkdtempSync(join(tmpdir(), 'encrypted-echo-'));
	try {
		execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '--project', here, '--outDir', folder], { stdio: 'inherit' });
		const { outputFiles } = await build({
			entryPoints: [join(folder, classFile)], nodePaths: [join(here, 'node_modules')], bundle: true, write: false, minify: true, format: 'cjs', platform: 'node', target: 'node20',
			external: ['@rocket.chat/apps-engine/*'], legalComments: 'none', logLevel: 'warning',
		});
		return Buffer.from(outputFiles[0].contents);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

/** Gives { name, bytes }. */
export async function packExample() {
	const app = JSON.parse(read('app.json'));
	const classFile = app.classFile.replace(/\.ts$/, '.js');
	const manifest = { ...app, classFile, implements: implemented(app.classFile) };
	const bytes = zip([
		['app.json', Buffer.from(JSON.stringify(manifest, null, '\t'))],
		[classFile, await bundled(classFile)],
		[app.iconFile, read(app.iconFile)],
		...readdirSync(join(here, 'i18n')).sort().map((name) => [`i18n/${name}`, read('i18n', name)]),
	]);
	return { name: `${app.nameSlug}_${app.version}.zip`, bytes };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
	const { name, bytes } = await packExample();
	mkdirSync(join(here, 'dist'), { recursive: true });
	writeFileSync(join(here, 'dist', name), bytes);
}
