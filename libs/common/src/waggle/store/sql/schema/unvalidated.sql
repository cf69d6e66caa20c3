-- The constraints against odd rows that rows of before break, or that nobody has held them against.
SELECT conname AS name FROM pg_constraint
WHERE connamespace = to_regnamespace(:schema) AND conname LIKE '%\_fit' AND NOT convalidated
ORDER BY conname;
