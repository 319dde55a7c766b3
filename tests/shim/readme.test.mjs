// shim/README.md against the package: every export, option, method, event and reason has its place in it.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const shim = fileURLToPath(new URL('../../shim/', import.meta.url));
const ts = createRequire(join(shim, 'package.json'))('typescript');
const readme = readFileSync(join(shim, 'README.md'), 'utf8');

const program = ts.createProgram(['index.d.ts', 'apps-engine/index.d.ts'].map((name) => join(shim, 'dist', name)), { types: [], lib: ['lib.es2022.d.ts'] });
const checker = program.getTypeChecker();
const exportsOf = (name) => checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(join(shim, 'dist', name))));
const typeOf = (entry, name) => {
	const symbol = exportsOf(entry).find((each) => each.name === name);
	return checker.getDeclaredTypeOfSymbol(symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol);
};
const literalsOf = (entry, name) => typeOf(entry, name).types.map(({ value }) => value);

// What is between backticks, as words.
const named = new Set([...readme.matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) => code.match(/[\w$]+(?:\.\w+)?/g) ?? []).flatMap((word) => [word, ...word.split('.')]));
const missing = (names) => names.filter((name) => !named.has(name));

test('every export is named', () => {
	for (const entry of ['index.d.ts', 'apps-engine/index.d.ts']) assert.deepEqual(missing(exportsOf(entry).map(({ name }) => name)), [], entry);
});

test('every option is named', () => {
	const ofApps = ['EncryptedRoomsOptions', 'OnMessageOptions', 'OutgoingMessage', 'ParticipantOptions', 'FilesOptions', 'OutgoingFile', 'RestOptions', 'Credentials'];
	const options = [['index.d.ts', 'ConnectOptions'], ['index.d.ts', 'CallOptions'], ...ofApps.map((name) => ['apps-engine/index.d.ts', name])];
	for (const [entry, name] of options) {
		const members = checker.getPropertiesOfType(typeOf(entry, name)).map((symbol) => symbol.name);
		assert.ok(members.length > 0, name);
		assert.deepEqual(missing(members), [], name);
	}
});

test('every method of the classes is named', () => {
	const classes = [['index.d.ts', 'Client'], ...['EncryptedRooms', 'Participant', 'EncryptedFiles', 'Rest'].map((name) => ['apps-engine/index.d.ts', name])];
	for (const [entry, name] of classes) {
		const open = ({ valueDeclaration: at }) => !at || !(ts.getCombinedModifierFlags(at) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected));
		const members = checker.getPropertiesOfType(typeOf(entry, name)).filter(open).map((symbol) => symbol.name)
			.filter((each) => !each.includes('#') && each !== 'listenerCount');
		assert.ok(members.length > 0, name);
		assert.deepEqual(missing(members), [], name);
	}
});

test('every event, reason and phase is named', () => {
	assert.deepEqual(missing(checker.getPropertiesOfType(typeOf('index.d.ts', 'ClientEvents')).map(({ name }) => name)), []);
	assert.deepEqual(missing(literalsOf('index.d.ts', 'Reason')), []);
	assert.deepEqual(missing(literalsOf('index.d.ts', 'EventType')), []);
	assert.deepEqual(missing(literalsOf('apps-engine/index.d.ts', 'RoomPhase').flatMap((phase) => phase.split('-'))), []);
});

test('links lead somewhere, in both pages', () => {
	for (const page of ['README.md', 'example/README.md']) {
		const links = [...readFileSync(join(shim, page), 'utf8').matchAll(/\]\(([^)#:]+)\)/g)].map(([, link]) => link);
		assert.ok(links.length > 0);
		assert.deepEqual(links.filter((link) => !existsSync(join(shim, dirname(page), link))), [], page);
	}
});
