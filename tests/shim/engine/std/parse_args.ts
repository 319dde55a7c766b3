// In the place of jsr:@std/cli/parse-args: `--name value` is all that the runtime is started with; see io.ts.
export function parseArgs(args: string[]): Record<string, string> {
	const parsed: Record<string, string> = {};
	for (let i = 0; i + 1 < args.length; i++) if (args[i].startsWith('--')) parsed[args[i].slice(2)] = args[++i];
	return parsed;
}
