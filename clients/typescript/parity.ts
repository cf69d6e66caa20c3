// The compiler proves, field by field, that the API answers with the types of the third seed. The test generates `schema.ts` from the OpenAPI document.

import type { components } from './schema';
import type * as seed from './seed';

type Schemas = components['schemas'];

// A seed type as JSON: a Date becomes a string, an enum its values, a record holds any JSON, a function is left out.
type Wire<T> = T extends Date
  ? string
  : T extends string
    ? `${T}`
    : T extends number
      ? Value<T>
      : T extends boolean
        ? T
        : string extends keyof T
          ? T
          : T extends object
            ? { [K in keyof T as Travels<T[K]> extends true ? K : never]: Wire<T[K]> }
            : T;
type Travels<T> = NonNullable<T> extends (...args: never[]) => unknown ? false : true;
type Value<T extends number> = `${T}` extends `${infer N extends number}` ? N : T;

// Whether both types have the same values.
type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;

// The names of the seed's fields that the answer lacks, or has with another type, or differs in whether they are optional.
type Both<A, B> = A extends B ? (B extends A ? true : false) : false;
type Differs<Seed, Answer> = {
  [K in keyof Seed]-?: K extends keyof Answer ? (Both<Pick<Seed, K>, Pick<Answer, K>> extends true ? never : K) : K;
}[keyof Seed];

function same<_ extends true>(): void {}
function none<_ extends never>(): void {}

same<Same<`${seed.TaskStatus}`, Schemas['TaskStatus']>>();
same<Same<Value<seed.TaskPriority>, Schemas['TaskPriority']>>();
same<Same<`${seed.ErrorCode}`, Schemas['ErrorCode']>>();

none<Differs<Wire<seed.Task>, Schemas['Task']>>();
none<Differs<Wire<seed.NotionAssistantError>, Schemas['TaskError']>>();
none<Differs<Wire<seed.ErrorRecoveryStrategy>, Schemas['TaskError']>>();
none<Differs<Wire<seed.ErrorRecoveryStrategy>, Schemas['Problem']>>();

// The types as a whole: code that was written for the seed's types accepts the API's answers.
export const task = (answered: Schemas['Task']): Wire<seed.Task> => answered;
export const taskError = (answered: Schemas['TaskError']): Wire<seed.NotionAssistantError> => answered;
