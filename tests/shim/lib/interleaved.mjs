// Several actors, one step at a time, in an order drawn from a seed. A step is a request to the server or a call of the daemon; each waits until it is
// drawn, is carried out to its end, and only then is the next one drawn, when everybody again waits for a step or has finished. So a race
// that a seed shows is shown by it again.
import { AsyncLocalStorage } from 'node:async_hooks';

const acting = new AsyncLocalStorage();

export class Interleaved {
	#rnd;
	#actors = new Set(); // { name, step: a function, or undefined between steps }
	#failure;
	#settled; // called when an actor has come to a step or to its end
	log = [];

	constructor(rnd) {
		this.#rnd = rnd;
	}

	// Makes each call of @fn a step, where an actor calls it; @label(args) is for the log.
	stepped(label, fn) {
		return (...args) => {
			const actor = acting.getStore();
			if (!actor || actor.owner !== this || this.#failure) return fn(...args);
			return new Promise((resolve, reject) => {
				actor.step = async () => {
					this.log.push(`${actor.name}: ${label(...args)}`);
					const outcome = await acting.exit(() => fn(...args)).then((value) => () => resolve(value), (error) => () => reject(error));
					actor.step = undefined;
					outcome();
				};
				this.#settled?.();
			});
		};
	}

	// All methods of a client as steps; everything else is the client's own.
	client(client, methods) {
		return Object.assign(Object.create(client), Object.fromEntries(methods.map((method) => [method, this.stepped(() => method, (...args) => client[method](...args))])),
			{ on: () => undefined, off: () => undefined });
	}

	// Adds somebody who does @work.
	act(name, work) {
		const actor = { name, owner: this, step: undefined };
		this.#actors.add(actor);
		acting.run(actor, async () => work()).catch((error) => (this.#failure ??= error)).finally(() => {
			this.#actors.delete(actor);
			this.#settled?.();
		});
	}

	// Until everybody has finished; after a failure the others finish as they like.
	async run() {
		for (;;) {
			while (this.#actors.size > 0 && [...this.#actors].some(({ step }) => !step)) await new Promise((resolve) => (this.#settled = resolve));
			if (this.#actors.size === 0) break;
			await this.#rnd.pick([...this.#actors]).step();
		}
		if (this.#failure) throw this.#failure;
	}
}
