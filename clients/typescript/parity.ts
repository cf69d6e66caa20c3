// What the API answers is what the third seed promised: the compiler proves it, field by field. `schema.ts` is made from the OpenAPI document by the test.

import type { components } from './schema';
import type * as seed from './seed';

type Schemas = components['schemas'];

// A seed type as it travels in JSON: a Date is a string, an enum is its values, a record holds any JSON, a function does not travel.
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

// Equal: neither side has a value that the other has not.
type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;

// The names of the seed's fields that the answer lacks, or has with another type, or as optional where the seed has not, or the other way round.
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

// And as a whole: whoever was written for the seed's types takes what the API answers.
export const task = (answered: Schemas['Task']): Wire<seed.Task> => answered;
export const taskError = (answered: Schemas['TaskError']): Wire<seed.NotionAssistantError> => answered;
