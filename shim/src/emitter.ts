// Listeners by name. Node's `events` is not among the modules that Rocket.Chat's sandboxes let an app load.

type Listeners<E> = { [K in keyof E]?: ((...args: any[]) => void)[] };

export class Emitter<E extends { [K in keyof E]: unknown[] }> {
	#listeners: Listeners<E> = {};

	on<K extends keyof E>(name: K, listener: (...args: E[K]) => void): this {
		this.#listeners[name] = [...(this.#listeners[name] ?? []), listener as (...args: any[]) => void];
		return this;
	}

	once<K extends keyof E>(name: K, listener: (...args: E[K]) => void): this {
		const first = (...args: E[K]) => {
			this.off(name, first);
			listener(...args);
		};
		return this.on(name, first);
	}

	off<K extends keyof E>(name: K, listener: (...args: E[K]) => void): this {
		this.#listeners[name] = this.#listeners[name]?.filter((other) => other !== listener);
		return this;
	}

	listenerCount<K extends keyof E>(name: K): number {
		return this.#listeners[name]?.length ?? 0;
	}

	/** Calls every listener, also when one of them throws: its error goes where an error in any callback goes, not into our work. */
	protected emit<K extends keyof E>(name: K, ...args: E[K]): void {
		for (const listener of this.#listeners[name] ?? [])
			try {
				listener(...args);
			} catch (error) {
				void Promise.reject(error);
			}
	}
}
