-- A worker that gave everything back ends its lease.
DELETE FROM workers WHERE id = :id;
