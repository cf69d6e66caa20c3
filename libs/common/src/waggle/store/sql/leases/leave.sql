-- A worker that gave everything back ends its lease.
DELETE FROM waggle.workers WHERE id = :id;
