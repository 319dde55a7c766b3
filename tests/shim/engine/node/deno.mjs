// What the runtime uses of Deno, and of the browser's events, on Node.
const output = (stream) => ({
	write: (data) => new Promise((resolve, reject) => stream.write(data, (error) => (error ? reject(error) : resolve(data.length)))),
	writeSync: (data) => stream.write(data),
});

export const Deno = {
	args: process.argv.slice(2),
	pid: process.pid,
	exit: (status) => process.exit(status),
	stdin: { readable: process.stdin },
	stdout: output(process.stdout),
	stderr: output(process.stderr),
};

// Node has the class since 25.
export class ErrorEvent extends Event {
	constructor(type, { error } = {}) {
		super(type);
		this.error = error;
	}
}
