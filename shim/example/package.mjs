// Makes dist/encrypted-echo_VERSION.zip, as Rocket.Chat's own compiler does: types checked against the engine's, TypeScript to ES2017, the app and what it
// imports in one minified CommonJS file with the engine left outside, in a zip with app.json, icon and i18n. The zip is the same bytes each time.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import ts from 'typescript';
import { zip } from './zip.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
process.chdir(here);

const app = JSON.parse(readFileSync('app.json', 'utf8'));

/** The engine's events that the class says it implements: the server calls the app for no other. */
function implemented() {
	const { AppInterface } = require('@rocket.chat/apps-engine/definition/metadata');
	const source = ts.createSourceFile(app.classFile, readFileSync(app.classFile, 'utf8'), ts.ScriptTarget.ES2017);
	return source.statements
		.filter(ts.isClassDeclaration)
		.flatMap(({ heritageClauses = [] }) => heritageClauses)
		.filter(({ token }) => token === ts.SyntaxKind.ImplementsKeyword)
		.flatMap(({ types }) => types.map(({ expression }) => expression.text))
		.filter((name) => name in AppInterface);
}

rmSync('dist', { recursive: true, force: true });
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc')], { stdio: 'inherit' });
const code = await build({
	entryPoints: [join('dist', 'js', app.classFile.replace(/\.ts$/, '.js'))], bundle: true, write: false, minify: true, format: 'cjs', platform: 'node', target: 'node20',
	external: ['@rocket.chat/apps-engine/*'], legalComments: 'none', logLevel: 'warning',
});
const manifest = { ...app, classFile: app.classFile.replace(/\.ts$/, '.js'), implements: implemented() };
mkdirSync('dist', { recursive: true });
writeFileSync(join('dist', `${app.nameSlug}_${app.version}.zip`), zip([
	['app.json', Buffer.from(JSON.stringify(manifest, null, '\t'))],
	[manifest.classFile, Buffer.from(code.outputFiles[0].contents)],
	[app.iconFile, readFileSync(app.iconFile)],
	...readdirSync('i18n').sort().map((name) => [`i18n/${name}`, readFileSync(join('i18n', name))]),
]));
