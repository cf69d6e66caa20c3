-- Delete redrives that ended long ago.
DELETE FROM waggle.redrives WHERE state <> 'running' AND ended_at < now() - :keep * interval '1 second';
