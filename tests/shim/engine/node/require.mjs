// How the runtime itself gets the engine's classes.
import { createRequire } from 'node:module';
import { join } from 'node:path';

export const require = createRequire(join(ENGINE, 'package.json'));
