// The interfaces and enums of the third seed, "Technical Specification", word for word.
//
// It uses two names without defining them. TaskResult: any JSON. NotionAssistantError: in the narrowest reading, an error with one of the codes, a message,
// and the recovery strategy of that code.

export interface Task {
  id: string;
  type: string;
  status: TaskStatus;
  priority: TaskPriority;
  description: string;
  created: Date;
  updated: Date;
  completed_at?: Date;
  deadline?: Date;
  retry_count: number;
  max_retries: number;
  error?: NotionAssistantError;
  result?: TaskResult;
  metadata: Record<string, any>;
}

export enum TaskStatus {
  pending = 'pending',
  running = 'running',
  completed = 'completed',
  failed = 'failed',
  cancelled = 'cancelled',
  dead_letter = 'dead_letter'
}

export enum TaskPriority {
  LOW = 0,
  MEDIUM = 1,
  HIGH = 2,
  CRITICAL = 3
}

export interface DeadLetterQueueConfig {
  maxSize: number;
  retentionPeriodMs: number;
  retryLimit: number;
  backoffMs: number;
}

export enum ErrorCode {
  UNAUTHORIZED = 'unauthorized',
  INVALID_INPUT = 'invalid_input',
  NOT_FOUND = 'not_found',
  RATE_LIMIT_EXCEEDED = 'rate_limit_exceeded',
  SERVICE_UNAVAILABLE = 'service_unavailable',
  INTERNAL_ERROR = 'internal_error',
  NETWORK_ERROR = 'network_error',
  VALIDATION_ERROR = 'validation_error',
  TASK_EXECUTION_FAILED = 'task_execution_failed',
  TASK_TIMEOUT = 'task_timeout',
  TASK_CANCELLED = 'task_cancelled'
}

export interface ErrorRecoveryStrategy {
  retryable: boolean;
  requiresUserInput: boolean;
  alternativeAction?: string;
  cleanup?: () => Promise<void>;
}

export type TaskResult = unknown;

export interface NotionAssistantError extends ErrorRecoveryStrategy {
  code: ErrorCode;
  message: string;
}
