"""Every bound of the system, with its unit and its reason.  Relations between bounds are asserted at the end."""

from typing import Final

# Must never change: the hash of a source and the names of all its keys depend on them.
LANES: Final = 1024

# HTTP
BODY_BYTES_MAX: Final = 6 * 1024 * 1024
"""A body, compressed and inflated: what a synchronous Lambda event can carry."""
SAMPLES_PER_BODY_MAX: Final = 200_000
"""Elements of one post: a writer could not pack 6 MB of the shortest elements in time."""
ANSWER_BYTES_MAX: Final = 6 * 1024 * 1024 - 16 * 1024
"""The body of an answer in base64: what a synchronous Lambda answer can carry, with room for its headers."""
ANSWER_PLAIN_BYTES_MAX: Final = 512 * 1024
"""A longer answer is sent as base64: as text within JSON each of its quotes takes two bytes."""
JSON_DEPTH_MAX: Final = 100
"""Levels of arrays and objects in JSON that is kept: decoders stop at 1,000 or less, and answers wrap it in more."""
DEFLATE_PENDING_BYTES: Final = 128 * 1024
"""What zlib at level 1 may hold back of what it was given, packed: two of its blocks."""
LIST_LIMIT_MAX: Final = 10_000
"""Elements of one page of a list."""
FORM_BYTES_MAX: Final = 1024 * 1024
"""A body that is no samples, after inflation: three times the largest thing that is kept, and 150 ms of decoding."""
QUERY_FIELDS_MAX: Final = 2_000
"""Parameters of one query string: more than any route takes, few enough to split quickly."""
TIME_S_MAX: Final = 2**40
"""Seconds from 1970 that a time in a query string may be away: in ms it is exact as a float64."""
RETRY_AFTER_S: Final = 10
"""Retry-After of a 503: long enough for a throttle to pass; agents wait their own 60 s."""
NAME_BYTES_MAX: Final = 255
"""A metric name; Mackerel documents none, its clone keeps 128."""
METRIC_NAME_BYTES_MAX: Final = 512
"""The name of a labelled metric, in UTF-8: it is a sort key of the directory."""
DIRECTORY_ITEM_BYTES_MAX: Final = 40_000
"""An entry of the directory: two labels of LABEL_VALUE_BYTES_MAX whose every character may be escaped, or help."""
DIRECTORY_NAMES_BYTES_MAX: Final = 300_000
"""A set of metric names in the directory; a source with more may have any name, and is always looked into."""
DIRECTORY_REMEMBERED_MAX: Final = 100_000
"""Entries of the directory that an ingester remembers having written today: some 30 MB; then it writes them again."""
DIRECTORY_WRITERS: Final = 16
"""Entries of the directory that are read and put at the same time."""
RAW_DAYS_MAX: Final = 1_825
"""How long raw samples are kept at most, in days: ``Retention=long`` of the template.  A source may have samples so
long before it was first heard of, and after it was last."""
DIRECTORY_DAYS: Final = RAW_DAYS_MAX + 1
"""How long an entry that ``reindex`` makes outlives its making, in days; the next facts of the source put it right."""
DIRECTORY_CACHE_S: Final = 3
"""How long a reader goes by what it read of the directory: a new series is found within 5 s of its post."""
DIRECTORY_WHOLE_S: Final = 60
"""After so long a reader reads a partition of the directory again whatever its token says: earlier code gives none."""
DIRECTORY_SOURCES_MAX: Final = 200_000
"""Targets of a tenant that can be searched: their directory takes a reader some 200 MB and 3 s."""
DIRECTORY_CACHED_SOURCES_MAX: Final = 200_000
"""Sources of other tenants' directories that a reader keeps in the meantime: some 120 MB."""
FOUND_SOURCES_MAX: Final = 2_000
"""Sources into whose series one query looks: two items of the table each, and three calls of Redis; 0.6 ms of CPU each,
measured at 200 series, and 1.4 ms more to read one series of each."""
LISTED_SOURCES_MAX: Final = 1_000
"""Sources into whose series a listing of names or values, or a report, looks: of more it says what a day had."""
COUNTED_SOURCES_MAX: Final = 50_000
"""Sources whose series one report counts: two commands of Redis each, some 2 s together."""
FOUND_AT_ONCE: Final = 100
"""Sources whose series are asked for in one go: one BatchGetItem."""
LOOKED_AT_SERIES_MAX: Final = 400_000
"""Series that one query takes apart, some 3 us each."""
FOUND_SERIES_MAX: Final = 200_000
"""Series that one query finds, of a kilobyte each in memory."""
FACT_COST_US: Final = 3_000
"""A fact, or a source with new names: an entry is read and put beside others, mostly the client's CPU, measured."""
LABELS_MAX: Final = 64
"""Labels of one series; Prometheus' targets have 5 to 20."""
LABEL_NAME_BYTES_MAX: Final = 1_024
"""The name of a label, in UTF-8."""
LABEL_VALUE_BYTES_MAX: Final = 2_048
"""The value of a label, in UTF-8: job and instance are kept once per target, the others in the key of each series."""
SERIES_KEY_BYTES_MAX: Final = 4_096
"""The canonical text of a labelled series within its source, in UTF-8."""
IDENTITIES_BYTES_MAX: Final = 48 * 1024 * 1024
"""Labels whose series a writer remembers, so that it works them out once: some 60,000 series of Kubernetes."""
SERIES_PER_SOURCE_MAX: Final = 20_000
"""Series of a source, unless the tenant's item says otherwise: its rows are read and sealed as a whole.  A target with
more is divided into several sources."""
UNDIVIDED_SOURCES: Final = 3
"""Times as many series a target may have for each of its sources until a division holds, 90 minutes later at most: so a
window of four hours has as many samples then as one of a source within its bound."""
DIVISION_BITS_MAX: Final = 4
"""A target has 16 sources at most, of 320,000 series: one query looks into 400,000."""
DIVIDED_TARGETS_MAX: Final = 200
"""Divided targets of a tenant, some 70 bytes each in its item: twice as many as its series by default make at once."""
DIVISIONS_PER_FLUSH: Final = 2
"""Targets of a tenant that an ingester divides in a minute: 20,000 names take 80 ms to be told apart."""
DIVIDED_KEYS_REMEMBERED: Final = 65_536
"""Series of divided targets whose place a writer remembers: some 15 MB."""
SERIES_WATCHED_MAX: Final = 350_000
"""Series that a writer remembers as known, some 35 MB; then it forgets them all and learns them again."""
SERIES_LEARNED_S: Final = 300
"""How long a writer learns the series of a tenant before it calls one new: several scrapes of each."""
METADATA_BYTES_OF_METRIC_MAX: Final = 4_096
"""Help and unit of one metric; longer ones are cut."""
FACTS_REMEMBERED_MAX: Final = 50_000
"""Targets and metrics of which a writer put what rows don't say; then it forgets and puts them again: some 20 MB."""
FACTS_BYTES_MAX: Final = 500_000
"""Targets or metrics of one record; a single one has at most 15,000."""
FACTS_S: Final = 3_600
"""How often a writer puts the labels of a target, or the metadata of a metric, on the stream again."""
TARGETS_PER_BODY_MAX: Final = 600
"""New targets of one post, as many as an ingester notes at once; one with more is taken piece by piece.  Prometheus
sends 2,000 samples, of 400 targets at most: even one that is down has five."""
METRICS_PER_BODY_MAX: Final = 2_000
"""Metrics of one post of which something new is said; what is said of others waits for the next post that says it."""
PAIR_SILENT_S: Final = 30
"""After so long without a post of the elected replica of a pair another one is elected."""
LISTS_PACKED_MAX: Final = 500
"""Series lists whose order and form a writer remembers, since agents send the same one each minute."""
LIST_REMEMBERED_BYTES_MAX: Final = 16_384
"""Of one such list, some 500 names; all of them take 30 MB at most."""
PAIR_NOTED_S: Final = 10
"""How often the elected replica is noted: a write of the table for each pair and instance."""
PAIRS_REMEMBERED_MAX: Final = 1_000
"""Pairs of replicas whose election a writer remembers; then it asks again."""
PAIRS_PER_BODY_MAX: Final = 20
"""Pairs of one post: each may be a write of the table."""
CREATED_BACK_MS: Final = 300_000
"""A counter that began so shortly before its sample gets a 0 at its beginning: an older beginning was sent before."""
REFUSED_SHOWN_BYTES: Final = 200
"""Of a refused series, in the answer that names one."""
HOST_ID_BYTES_MAX: Final = 64
"""A host id; Mackerel's have 11 characters and are opaque."""
UNKNOWN_HOST_S: Final = 3_600
"""How long a writer believes that a host is registered or not; a host that is not is named once in this time."""
HOSTS_LOOKED_UP_MAX: Final = 100
"""Hosts of one post that are looked up in the registry: one BatchGetItem; the others with a later post."""
HOSTS_WATCHED_MAX: Final = 50_000
"""Hosts that a writer remembers, some 10 MB; beyond it they are looked up more often."""
UNKNOWN_HOSTS_NAMED_MAX: Final = 20
"""Hosts that one line of the log, or one header, names."""
SOURCE_NAME_BYTES_MAX: Final = HOST_ID_BYTES_MAX
"""What can be asked of or deleted as a host or service: no post has a longer one, and keys of stores end somewhere."""
API_KEY_BYTES_MAX: Final = 256
"""A longer X-Api-Key is unknown without a look-up."""
AHEAD_MS_MAX: Final = 10 * 60 * 1000
"""A sample further in the future than this comes from a broken clock and is refused."""
LATE_MARGIN_S: Final = 2 * 86_400
"""How long before the end of its retention a late sample is refused: it may wait in the stream and in Redis."""
MARKER_EXTRA_S: Final = 2 * 86_400
"""How much longer than raw samples the marker of a delete is kept: whatever it deleted is past retention by then."""
LATEST_PAIRS_MAX: Final = 1_000
"""(host, name) pairs of one GET /api/v0/tsdb/latest."""
LATEST_READERS: Final = 32
"""Hosts of one GET /api/v0/tsdb/latest whose blocks are read at the same time."""
POINTS_MAX: Final = 150_000
"""Points of one read: what fits into a Lambda answer of 6 MB."""
STORAGE_WINDOWS_MAX: Final = 200
"""Windows of one GET /carbyne/v1/storage: each is read whole."""
LATEST_BACK_MS: Final = 24 * 60 * 60 * 1000
"""How old the latest sample of a series may be."""

# Queries in PromQL
QUERY_TIME_S_MAX: Final = 2**43
"""Seconds from 1970 that a time of a query may be away: times in ms stay exact."""
QUERY_SORTED_AT_ONCE: Final = 2_000_000
"""Samples of windows that are sorted at once: 16 MB, and as much for their order."""
CARDINALITY_TOP_MAX: Final = 10_000
"""Entries of each list of the report on cardinality: four lists of 200 bytes each are an answer."""
SELECTORS_MAX: Final = 32
"""``match[]`` of one request: each is tested on all sources of the tenant."""
QUERY_BYTES_MAX: Final = 16 * 1024
"""The text of a query: the longest that Grafana's tools make has 8 KB, and parsing it takes 2 ms."""
QUERY_DEPTH_MAX: Final = 100
"""Operations or brackets within each other: far more than people write, far less than Python can call."""
QUERY_OPERATORS_MAX: Final = 1_000
"""Operators of one query: its parser takes them one within the other, and from about 3,000 on its stack ends."""
QUERY_STEPS_MAX: Final = 11_000
"""Points of one series of an answer, as Prometheus has it: a pixel each of the widest screens."""
QUERY_SOURCES_MAX: Final = 2_000
"""Sources that one selector reads: each is asked by itself, some at a time."""
QUERY_SERIES_MAX: Final = 50_000
"""Series that one query reads: as many as a target of some sources has."""
QUERY_SAMPLES_MAX: Final = 5_000_000
"""Samples that a query reads, and values that one of its operations gives: 40 MB, of which an operation has ten."""
QUERY_POINTS_MAX: Final = 150_000
"""Points of the answer to a query: what fits into a Lambda answer of 6 MB."""
DELETED_SERIES_MAX: Final = 50
"""Series of one delete by selectors: each is a delete of the tenant's minute, and a marker of its source."""
ROLLED_READS_MAX: Final = 64
"""Reads of one source into which a window is cut to be served by rollups: each takes some round trips."""
ROLLED_SPAN_MS_MAX: Final = 20 * 366 * 86_400_000
"""The longest span that is served by rollups: far longer than any is kept."""
QUERY_TIMEOUT_S: Final = 20.0
"""How long a query is computed: the function ends after 25 s."""
QUERY_LOOKBACK_MS: Final = 5 * 60 * 1000
"""How old the newest sample of a series may be where a query names none: Prometheus' default."""
QUERY_NOTES_MAX: Final = 10
"""Warnings and infos of one answer, each: the others are counted."""

# Stream records
RECORD_BYTES_MAX: Final = 1_000_000
"""A Kinesis record holds 1 MiB with its partition key."""
RECORD_RAW_BYTES_MAX: Final = 900_000
"""A record's body before compression, so that it fits even if zstd saves nothing."""
RECORD_INFLATED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bound of inflating a record: RECORD_RAW_BYTES_MAX with room for later versions."""
ROW_RAW_BYTES_MAX: Final = 800_000
"""Names and values of one row; a larger one is split by hash prefix of the series key."""
ROW_SERIES_MAX: Final = 8_192
"""Series of one row; bounds the work of one script call."""
PUT_RECORDS_MAX: Final = 500
"""Kinesis PutRecords: entries of one call."""
PUT_BYTES_MAX: Final = 4_500_000
"""Kinesis PutRecords: 5 MiB of one call with its partition keys, less our margin."""
PUT_BUDGET_S: Final = 8.0
"""All tries of PutRecords for one post: agents and API Gateway give up after 30 s."""
PUT_CONNECT_S: Final = 1.0
"""Opening a connection to Kinesis; normally it is open already."""
PUT_READ_S: Final = 2.5
"""Kinesis' answer to one PutRecords, normally 20 ms: leaves time for a second call after one that hangs."""
PUT_CALL_S: Final = PUT_CONNECT_S + PUT_READ_S
"""One call of PutRecords; with less time left none is started."""
TABLE_TRIES: Final = 3
"""Of a call of the blocks table, unless its client was given another number."""
TABLE_PAUSE_S: Final = 0.05
"""Longest pause before the first retry of a call of the blocks table, doubled for each further one."""
PUT_PAUSE_S: Final = 0.05
"""Longest pause before the first retry, doubled for each further one; the pause is a random share of it."""
PUT_PAUSE_S_MAX: Final = 1.0
"""Longest pause: Kinesis counts the throughput of a shard per second."""

# Redriving
GIVEN_UP_BYTES_MAX: Final = 16 * 1024 * 1024
"""A batch that Lambda gave up, as JSON text within JSON: an event has at most 6 MB."""
REDRIVE_BATCH: Final = 32
"""Objects in memory at once, of at most 1 MB each."""
REDRIVE_RECORDS_PER_S: Final = 250
"""A quarter of what a shard takes, since agents' posts come first."""
REDRIVE_BYTES_PER_S: Final = 256 * 1024
"""A quarter of a shard's bytes; a larger record is put alone."""
REDRIVE_BUDGET_S: Final = 60.0
"""All tries of PutRecords for one call: no client waits for the answer, and a busy shard may have room later."""

# Ingesting
INGEST_RESERVE_S: Final = 25.0
"""No further portion of a batch is begun with less time left: one takes a second, or the budgets of its calls."""
PORTION_COST_US_MAX: Final = 2_000_000
"""Work that an ingester begins at once, in microseconds as the following costs estimate it, Redis included."""
ROW_COST_US: Final = 10
"""A row of a window that is there; 100 samples, measured."""
WINDOW_COST_US: Final = 300
"""The first row of a source and window in a call: keys of its own in Redis, or an item in the table."""
DELETE_COST_US: Final = 50_000
"""A delete: five to eight calls, one after the other."""
RECORD_BYTES_PER_US: Final = 20
"""Bytes of a record that are inflated, decoded and packed in a microsecond."""

# Redis
REPLAY_FILL_MAX: Final = 0.7
"""How full Redis may be for a replay to go on: the live stream needs the rest until windows are sealed."""
EARLY_FILL_MAX: Final = 0.75
"""How full a shard may be before its windows are sealed early: past the alarm, before anything is refused."""
EARLY_FILL_MAX_REPLAY: Final = 0.65
"""The same while lanes are replayed, so that the replay never waits for windows to end."""
EARLY_FILL_GOAL: Final = 0.1
"""How far below that bound early sealing empties a shard: less would seal the same windows again and again."""
EARLY_SLICE_S: Final = 120.0
"""How long a run seals windows early before those that are due have their turn."""
ADMIT_FILL_MAX: Final = 0.85
"""How full a shard may be before tenants are refused that hold more than an equal share of it; the rest is for what
comes until they notice."""
ADMIT_MINUTES: Final = 3
"""How long such a refusal stands unless the sealer renews it, which it does each minute."""
ADMIT_TENANTS_MAX: Final = 50
"""Tenants that one run refuses for a shard, those that hold most first: each is a write."""
REPLAY_STUCK_S: Final = 15 * 60
"""A replay without any progress for so long lost its reader or its fences, and begins again; Lambda takes a minute or
two to read for a new mapping, and an outage of a store is shorter as a rule."""
TICK_MINUTES: Final = 10
"""How often each lane gets a tick: 1,024 records in ten minutes, a tenth of what 1,000 hosts send."""
SEAL_GRACE_S_MAX: Final = 3600
"""The greatest SealGraceSeconds that the template takes."""
MARK_MARGIN_S: Final = 120
"""How much earlier a mark is than what it was computed from: Kinesis calls its times of arrival approximate."""
MARK_STEP_S: Final = 120
"""A mark that moves on by less is not worth a put."""
NOTE_BYTES_MAX: Final = 80_000
"""The note of masters, as an item: 500 of them, each with its id and its replicas."""
JOB_BYTES_MAX: Final = 20_000
"""The job of a replay, as an item: at most all lanes."""
DICTIONARY_NAMES_MAX: Final = 250_000
"""Series of open windows whose indexes an ingester remembers: 30 to 60 MB; it asks Redis for those of others."""
CODED_LISTS_MAX: Final = 16
"""Series lists of one window that it remembers as they are coded: what a host sends again each minute."""
WRITE_ROUNDS_MAX: Final = 5
"""Times that rows are sent whose dictionary other writers change meanwhile; each time one of them succeeds."""
WAIT_MS: Final = 1_000
"""How long WAIT may block a batch until a replica has it."""
REDIS_BUDGET_S: Final = 5.0
"""All tries for one batch or read: a failover takes 3 to 4 s, and the stream keeps what fails."""
REDIS_TIMEOUT_S: Final = 2.0
"""Connecting and each reply of a node; longer than WAIT_MS."""
REDIS_TOKEN_S: Final = 900
"""How long ElastiCache accepts an IAM token after its signature."""
REDIS_TOKEN_RENEW_S: Final = 600
"""How long a token serves new connections; the rest covers clock differences and connecting."""
CALL_BYTES_MAX: Final = 1_000_000
"""Rows of one write call: about a millisecond of a Redis thread."""
READ_BYTES_MAX: Final = 8_000_000
"""Rows of one read call; the next call continues.  96 MB in one call blocked Redis for 159 ms."""
READ_WINDOWS: Final = 8
"""Windows that a read declares in advance; a second call reads others that the source's index names."""
SIZED_PER_CALL: Final = 5_000
"""Windows whose memory is asked for in one go, three keys each: a fraction of a second."""
DUE_PER_LANE: Final = 100
"""Due windows that one look at a lane lists; the next look lists more."""
SEAL_LEASE_MS: Final = 360_000
"""How long other sealers leave a claimed window alone: longer than the sealer's time-out of 300 s."""
SEAL_RESERVE_S: Final = 30.0
"""The sealer starts no further window with less time left: a large source takes that long."""
SEAL_TRIES_MAX: Final = 8
"""Tries to change one item that other writers keep changing; then the window waits for the next run."""
CONFIRM_ROWS_MAX: Final = 4_000
"""Rows of one confirm call: some milliseconds of a Redis thread."""

# Operating Redis
MIGRATE_SLOTS: Final = 1_024
"""Slots that move to another node in one go where the server can do so: a sixteenth of all, so that progress shows."""
MIGRATE_KEYS: Final = 16
"""Keys of one MIGRATE, which holds both servers: a window's rows may be megabytes."""
MIGRATE_MS: Final = 60_000
"""How long one MIGRATE may take: a key of 100 MB, over a slow network."""
REDIS_STEP_S: Final = 60.0
"""Until all nodes agree on a change, which they tell each other within seconds."""
REDIS_SYNC_S: Final = 180.0
"""A new replica that gets nothing for so long is given up: its master may first write a snapshot of all it has."""
STATUS_S: Final = 2.0
"""Between two pictures of a cluster that is watched, and between two lines of progress."""
FAILOVER_PAUSE_MS: Final = 1_500
"""How long a planned failover may hold writes, which the functions wait out: less than REDIS_TIMEOUT_S."""
HANDOVER_OPEN_S: Final = 30
"""How long the sealer waits for the outcome of a planned failover, which takes a second or two."""
HANDOVER_S: Final = 86_400
"""How long a planned change of masters is remembered: the sealer looks each minute."""
HANDOVERS_MAX: Final = 128
"""Planned changes of masters that are remembered, some 40 bytes each: growing by a shard notes one for each other."""
FOLLOWERS_KNOWN_S: Final = 5
"""How long an instance goes by what it read of the replicas that must have each write: a read of the table costs some
milliseconds."""
FOLLOWER_JOIN_S: Final = 45
"""How long a replica is listed before it counts for a proof: a put of the list takes 24 s at most, and instances go by
an older one for FOLLOWERS_KNOWN_S.  The sealer looks each minute."""
PROBE_NODES_MAX: Final = 250
"""Nodes whose figures are stored: each takes 1 KB of the answer that one function hands the other, at most 256 KB."""

# Blocks
RAW_WINDOW_S_MAX: Final = 86_400
"""The longest raw window that the template allows: a block that overlaps a span may start this much earlier."""
SHORT_WINDOW_S: Final = 3_600
"""A raw window of labelled sources that post more often than once a minute: 1,000 series at 15 s are 0.25 MB."""
SHORT_KEPT_S: Final = 7 * 86_400
"""How long labelled sources must have posted at most once a minute before their windows have the usual length again."""
STEP_AHEAD_S: Final = 1_800
"""How long before a change of length, or a division, holds it is stored: a sample may be 10 minutes ahead, an instance
may have looked the tenant up a minute ago, and a call of an ingester may take minutes."""
WINDOW_STEPS_MAX: Final = 128
"""Changes of length kept for a tenant, about 460 days of one each week.  A late sample from before them comes to a
window of the usual length, whatever there was: reads unite both by stamp."""
CADENCE_MINUTES_MAX: Final = 20_000
"""Pairs of source and minute of a tenant that an ingester looks at for how often sources post, each minute."""
STUB_EXTRA_S: Final = 30 * 86_400
"""How much longer than its parts a stub stays: DynamoDB removes expired items within days, in any order."""
BLOCK_BYTES_MAX: Final = 400_000
"""A DynamoDB item holds 409,600 bytes: its keys at most 3,072 of them, the rest of its attributes a few hundred."""
BLOCK_INFLATED_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bound of inflating a block: 20 times a full block, since only names compress that well."""
BLOCK_SAMPLES_MAX: Final = 4_000_000
"""Samples of one block (32 MB as arrays): constants compress to almost nothing, but a reader decodes all of them."""
BATCH_GET_MAX: Final = 100
"""DynamoDB BatchGetItem: items of one call."""
BATCH_WRITE_MAX: Final = 25
"""DynamoDB BatchWriteItem: items of one call."""
CATALOGUE_PAGE_SERIES_MAX: Final = 1_200
"""Series of one catalogue page: with 255 random bytes a name it fits an item, and rewriting a page is cheap."""
CATALOGUE_NAMES_BYTES_MAX: Final = 330_000
"""Names of one catalogue page: some 80 of the longest labelled series fill it."""
CATALOGUE_PAGE_BYTES_MAX: Final = 400_000
"""A catalogue page, as an item."""
CATALOGUE_INFLATED_BYTES_MAX: Final = 1024 * 1024
"""Bound of inflating a catalogue page."""
WORK_PARTITIONS: Final = 16
"""Shares of the list of sources whose blocks lack something: a partition takes 1,000 writes a second."""
WORK_BYTES_MAX: Final = 1_000
"""An entry of that list."""
LISTED_REMEMBERED_MAX: Final = 50_000
"""Sources of that list whose tokens an ingester remembers: 10 MB."""
BACKLOG_SLICE_S: Final = 20.0
"""How long the sealer works on one source before the next one has its turn."""
BACKLOG_STEP_WINDOWS: Final = 32
"""Windows after which the sealer notes how far it has cleaned a source: what a crash repeats."""
BACKLOG_AGAIN_MS: Final = 900_000
"""When a source is worked on again of which a window can't be read."""
COLD_READERS: Final = 16
"""Objects of the archive that one request fetches in parallel."""
DAY_S: Final = 86_400
"""Seconds of a day of UTC."""
RECONCILE_AHEAD_DAYS: Final = 3
"""How long before their expiry blocks are compared with the archive: after a failed run others follow in time."""
RECONCILE_BACK_DAYS: Final = 14
"""How long after its expiry a block may still be in the table: typically two days, but AWS guarantees none."""
RECONCILE_BATCH: Final = 256
"""Blocks that the threads get at once; each thread has one of them in memory."""
COMPARED_BYTES_MAX: Final = 40_000
"""What the reconciler has compared, as an item: some twenty days, each with the name of one block."""
INDEX_LAG_S: Final = 3_600
"""How long a block that was put may be missing in the index of expiries, the seconds of its put included; normally
less than one."""
RECONCILE_URGENT_DAYS: Final = 1
"""A run that leaves blocks that expire so soon fails; what expires later is left to the next runs, an hour apart."""
RECONCILE_RESERVE_S: Final = 20.0
"""No further batch is begun with less time left: it takes a second or two, or the time-outs of its calls."""

# Tenants
API_KEY_NAME_CHARACTERS_MAX: Final = 64
"""What an operator calls a key: a line of a list."""
TENANT_CACHE_S: Final = 60
"""How long a key that was looked up stays cached: a revoked key stops within this time."""
TENANT_CACHE_ENTRIES_MAX: Final = 10_000
"""Keys cached per function instance, unknown ones included."""
SAMPLES_PER_MINUTE_MAX: Final = 2_000_000
"""A tenant's samples of one minute by default: twice the sustained load of one shard."""
ACTIVE_SERIES_MAX: Final = 2_000_000
"""A tenant's series of one hour by default: 20,000 hosts of 100 metrics."""
DELETES_PER_MINUTE_MAX: Final = 60
"""A tenant's deletes of one minute, unless its item says otherwise: each has blocks read, and some of them written."""
MARKERS_PER_SOURCE_MAX: Final = 500
"""Deletes of one source that are kept: every read of its raw samples loads them, at some 80 B each."""
BACKLOG_FREE_S: Final = 8 * 3_600
"""How old a sample may be without counting as an old one: an agent keeps six hours of an outage."""
OLD_WINDOWS_PER_MINUTE_MAX: Final = 600
"""A tenant's (source, raw window) pairs of a minute with older samples, unless its item says otherwise: the sealer
merges some ten of them a second."""
OLD_WINDOWS_PER_BODY_MAX: Final = 300
"""The same of one post; one with more is taken piece by piece, each time that it is sent."""
TAKEN_BODIES_MAX: Final = 100
"""Bodies of a tenant of which a piece is taken, and others are not: some 60 bytes each, in its item."""
TAKEN_BODY_MINUTES: Final = 60
"""How long such a body is remembered after its last piece: its sender tries again in minutes."""
LATE_ROW_SAMPLES: Final = 100
"""A row that comes after its window counts as so many samples at least: it is an item of its own in the table."""
USAGE_MINUTES_KEPT: Final = 10
"""Records that arrived longer ago are not counted: an ingester that catches up must not cause refusals."""
USAGE_MINUTES_HELD: Final = 15
"""Minutes of samples that a tenant's item keeps, at times twice as many."""
USAGE_MONTHS_HELD: Final = 4
"""Months of counts that a tenant's item keeps, at some 100 bytes each: a writer reads the item each minute."""
METERED_SOURCES_MAX: Final = 4
"""Sources whose bytes one look at the cost meter measures: some 25 blocks of each, read whole."""
METERED_WINDOWS: Final = 24
"""Raw windows that it looks back at most; a day at most as well."""
USAGE_TENANTS_PER_FLUSH: Final = 50
"""Tenants whose usage one batch writes, at some 5 ms each; the next batch writes the others'."""
PARTS_REMEMBERED_MAX: Final = 16_384
"""Escaped parts of keys that an instance remembers, of at most some hundred bytes each: 5 MB at most."""
LISTS_REMEMBERED_MAX: Final = 250_000
"""Series lists of an hour that an ingester remembers as counted: 25 MB; beyond that it forgets and counts them
again."""

# Registry
HOSTS_PAUSE_S: Final = 60.0
"""A writer looks up no hosts for this long after a look-up that failed: a post never waits twice."""
ANNOTATION_MONTHS_MAX: Final = 14
"""Months of 30 days of one search: a year on a graph, and what began before it.  An annotation lasts one at most."""
ANNOTATION_TIME_S_MAX: Final = 2**33
"""Seconds since 1970 of an annotation: the year 2242."""
WRITE_TRIES_MAX: Final = 8
"""Tries to change an item under contention; each failure means that another writer succeeded."""
SORT_KEY_BYTES_MAX: Final = 1_024
"""DynamoDB's bound on a sort key."""
PARTITION_KEY_BYTES_MAX: Final = 2_048
"""DynamoDB's bound on a partition key."""
HOST_BYTES_MAX: Final = 300_000
"""A host as JSON, metadata included: an item takes 409,600 bytes, and an agent sends about 5,000."""
HOST_NAME_CHARACTERS_MAX: Final = 255
"""A host's name; a fully qualified domain name has at most 253."""
PAST_HOSTS_MAX: Final = 50
"""Changes of one host's name, status and roles that are kept, for queries about the past."""
HOSTS_PER_BULK_MAX: Final = 30
"""Hosts of one bulk call, as Mackerel documents."""
ROLES_PER_HOST_MAX: Final = 100
"""Roles of one host; a handful is usual."""
MEMO_CHARACTERS_MAX: Final = 2_048
"""A memo, as Mackerel documents of monitors."""
METADATA_BYTES_MAX: Final = 100 * 1024
"""One metadata document, as Mackerel documents."""
METADATA_SPACES_MAX: Final = 50
"""Metadata documents of one owner, as Mackerel documents."""
METADATA_READABLE_S: Final = 7 * 24 * 60 * 60
"""How long metadata of a retired host can be read, as Mackerel documents."""
GRAPHS_PER_TENANT_MAX: Final = 2_000
"""Graph definitions of a tenant: each post of definitions reads all of them."""
GRAPH_METRICS_MAX: Final = 200
"""Metrics of one graph definition; a graph with more lines is unreadable."""
REPORTS_PER_BODY_MAX: Final = 100
"""Check reports of one post, as Mackerel documents."""
CHECKS_PER_HOST_MAX: Final = 200
"""Checks of one host whose state is kept: each post of reports reads all of them."""
CHECK_MESSAGE_CHARACTERS_MAX: Final = 1_024
"""The message of a check report, as Mackerel documents; a longer one is cut."""
CHECK_ATTEMPTS_MAX: Final = 10
"""Reports in a row that are not OK before an alert, as Mackerel documents."""
CHECK_REPORT_AGE_S_MAX: Final = 6 * 60 * 60
"""How far a report's time may lie from now, as Mackerel documents."""

# External checks
EXTERNAL_MONITORS_PER_TENANT_MAX: Final = 100
"""External monitors of a tenant: each is a request a minute, some $0.40 a month with its function's time."""
EXTERNAL_HEADERS_MAX: Final = 30
"""Headers of a check's request."""
EXTERNAL_TEXT_CHARACTERS_MAX: Final = 1_024
"""A header's value, or the text that an answer must contain."""
EXTERNAL_BODY_CHARACTERS_MAX: Final = 10_000
"""The body of a check's request."""
CHECK_TIMES_MAX: Final = 10
"""Response times that a state keeps: the longest span of minutes that they are averaged over."""
CHECK_S: Final = 15.0
"""One check with its redirects; then the target counts as silent."""
CHECK_ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Of an answer: more is not read, and the text must be in what was."""
CHECK_REDIRECTS_MAX: Final = 5
"""Redirects that a check follows."""
CHECKS_AT_ONCE: Final = 32
"""Checks that one worker makes at the same time: three rounds of silent targets in the time that it takes checks."""
CHECKS_PER_WORKER: Final = 96
"""Checks of a minute for which one worker is called: so many are made within it even if all targets are silent."""
CHECK_LATE_MINUTES: Final = 2
"""A check that is older is skipped, since newer ones of the same monitor wait behind it: else targets that are silent
would fill the queue, and other tenants' checks would come ever later."""
CHECK_WORKERS_MAX: Final = 10
"""Workers that are called in a minute, or an account with a small quota would lack functions for agents."""
CHECK_SPREAD_S: Final = 45
"""Checks of a minute begin within so many seconds of it, each at a second of its own."""
CHECK_PAUSE_S: Final = 2.0
"""A worker that found nothing asks the queue again after this."""
CHECK_RESERVE_S: Final = 25.0
"""A worker takes nothing with less time left: the checks that it has take CHECK_S, and their results some calls."""
CHECK_LEASE_S: Final = 60
"""How long a worker has its checks: then it died."""

# Alerts
ALERT_LABELS_CHARACTERS_MAX: Final = 200
"""Of a series as text in the key of what is known of it; a longer one is told by a digest."""
ALERT_HORIZON_MS: Final = 60 * 60 * 1000
"""How far back samples are judged again: a later one changes no alert.  An agent's backlog of an hour fits."""
ALERT_SPACING_MS: Final = 10 * 60 * 1000
"""Samples that are averaged or counted lie at most so far apart on average: cron jobs post each ten minutes."""
SILENT_MINUTES: Final = 6
"""A host is gone after so many minutes without a post: agents wait 60 s after an error, and post 119 s late at most."""
MONITORS_PER_TENANT_MAX: Final = 10_000
"""Monitors of a tenant, which the evaluator reads each minute: some 3 MB."""
DOCUMENTS_BYTES_MAX: Final = 8 * 1024 * 1024
"""Documents of one kind of a tenant together, as JSON: 10,000 monitors with long memos.  One function reads those of
all tenants each minute, and 10,000 of the largest would be 380 MB."""
SCOPES_MAX: Final = 100
"""Scopes of a monitor or downtime; a handful is usual."""
EXPRESSION_CHARACTERS_MAX: Final = 10_000
"""An expression or query of a monitor."""
FILESYSTEMS_MAX: Final = 100
"""File systems of a host of which the fullest is judged: containers mount dozens."""
FILESYSTEMS_KEPT_MS: Final = 10 * 60 * 1000
"""Until names of a host's file systems are read again: three queries a host, which would cost $15 a month each minute
of 1,000 hosts."""
FILESYSTEMS_KEPT_MAX: Final = 20_000
"""Hosts of which an instance knows the file systems: 10 MB."""
MISSING_MINUTES_MAX: Final = 7 * 24 * 60
"""Minutes without a sample that a monitor may wait for."""
NOTIFICATION_MINUTES_MAX: Final = 60 * 24 * 365
"""Minutes between two notifications of an open alert."""
DOWNTIMES_PER_TENANT_MAX: Final = 1_000
"""Downtimes of a tenant, all of which are read before something is notified."""
DOWNTIME_MINUTES_MAX: Final = 60 * 24 * 366
"""The length of a downtime."""
CHANNELS_PER_TENANT_MAX: Final = 500
"""Channels of a tenant, and notification groups, and settings of alert groups: each list is read as a whole."""
GROUP_MEMBERS_MAX: Final = 500
"""Channels, groups, monitors or services of one notification group."""
EMAILS_MAX: Final = 50
"""Addresses of one channel: what Amazon SES takes in one message."""
ALERTS_PER_PAGE: Final = 100
"""Alerts, or entries of a log, of one page, as Mackerel documents."""
ALERT_LOGS_MAX: Final = 999_999
"""Entries of an alert's log: one each minute for two years."""
ALERT_KEPT_S: Final = 460 * 86_400
"""How long a closed alert and entries of logs are kept: as long as raw samples by default."""
ALERT_CHANGES_MAX: Final = 20
"""Alerts that one transaction changes: it takes 100 items, and each change writes four."""
PLOT_POINTS_MAX: Final = 60
"""Points of the graph that goes with an alert: one for each minute of the hour that is judged."""
PLOT_MS_MIN: Final = 10 * 60 * 1000
"""What the graph of a few samples spans."""
PICTURE_S: Final = 30 * 86_400
"""How long the picture of a message can be had: mails are read late."""
PICTURE_TITLE_CHARACTERS_MAX: Final = 60
"""Of a picture: as many as fit its width."""
PICTURE_TOKEN_BYTES_MAX: Final = 1_024
"""What a picture's URL carries, 650 bytes at most.  Slack takes URLs of 3,000 bytes."""
INGEST_LAG_MS_MAX: Final = 180_000
"""So long after a tick was put the ingester is behind: the supervisor puts some each minute."""
RULE_BACK_MS: Final = 120_000
"""So far before a monitor is made it judges: agents post up to 119 s late."""
HEARD_SHARDS: Final = 16
"""Items of what was heard of a tenant's sources: 300 bytes of a source fit for 20,000 sources."""
CLEARED_PER_LOOK: Final = 100
"""Alerts that one look closes beside those that samples change: each is a transaction."""
REMINDED_PER_LOOK: Final = 50
"""Alerts that one look reminds of: a minute has room for twice as many notices, and news must not wait behind them."""
REREAD_MINUTES: Final = 10
"""A source is read once in as many minutes also if its number of rows stays: an overwritten sample of one that is quiet
is judged then, long before it leaves the horizon."""
EVALUATE_READERS: Final = 8
"""Sources that a look reads at once."""
EVALUATE_TENANT_S: Final = 20.0
"""Time for one tenant in a minute: one with too many monitors waits for itself."""
EVALUATE_CHEAP_S: Final = 14.0
"""Time in a minute for the monitors of those tenants that take the least: half of what rules and reserve leave."""
EXPRESSION_DEPTH_MAX: Final = 20
"""Functions within each other in an expression."""
EXPRESSION_CALLS_MAX: Final = 200
"""Functions of one expression."""
EXPRESSION_BACK_MS_MAX: Final = 400 * 24 * 60 * 60 * 1000
"""How far back an expression looks: a year and some weeks, which raw retention holds."""
EXPRESSION_SOURCES_MAX: Final = 1_000
"""Hosts and services that one expression reads: each takes about a millisecond."""
EXPRESSION_POINTS_MAX: Final = 500_000
"""Points that one expression reads: an hour of 8,000 series."""
EXPRESSION_SPAN_MS_MAX: Final = 3_000 * 24 * 60 * 60 * 1000
"""Of an expression that is drawn, a point a day: 24 MB while it reads 1,000 hosts."""
EXPRESSION_LINES_MAX: Final = 100
"""Lines of an expression that is drawn: of the longest span 300,000 points, as a batch has."""
QUERY_MONITOR_SERIES_MAX: Final = 100
"""Series of the query of a monitor: each can have an alert."""
COMPUTED_MONITORS_PER_TENANT_MAX: Final = 1_000
"""Expressions and queries of a tenant: each takes some milliseconds a minute."""
COMPUTED_TENANT_S: Final = 5.0
"""Time for the expressions and queries of one tenant in a minute; those that it leaves out are the next one's first."""
COMPUTED_FAILS_MINUTES: Final = 3
"""Minutes in a row in which a monitor can't be computed before that is an alert: a store may be slow for one."""
COMPUTED_MONITOR_S: Final = 5.0
"""How long one expression or query is computed."""
ANOMALY_BASELINES_MAX: Final = 2_000
"""Hosts of which an evaluator keeps what is usual: 14 KB each."""
ANOMALY_BASELINES_PER_LOOK: Final = 60
"""Hosts of a tenant of which a look learns what is usual: each reads 35 blocks, once a day."""
EVALUATE_RESERVE_S: Final = 15.0
"""A look begins nothing with less time left: what it began ends within it."""
NOTICES_TOGETHER: Final = 50
"""Notices of a tenant, beside those of groups, that are brought into its queue before it is another tenant's turn;
twice as many in a minute."""
NOTICES_READ_MAX: Final = 200
"""Notices of a tenant that are read to find these: some are of groups, which may have no room for them."""
GROUPS_OPEN_MAX: Final = 20
"""Groups of alerts of a tenant at one time, which a run reads whole: 7 MB; alerts of more are told by themselves."""
GROUP_NOTICES_PER_RUN: Final = 50
"""Notices that a group of alerts takes in a minute: a transaction of DynamoDB has 100 items."""
GROUP_NEWS_MAX: Final = 50
"""Alerts of a group that wait for its interval; with so many its channels are told sooner."""
GROUP_OPEN_MAX: Final = 2_000
"""Open alerts that keep a group open, 150 KB of its item, or 250 of services with long names; more are told all the
same."""
GROUP_BYTES_MAX: Final = 250_000
"""An item of a group that is larger tells all that is new; GROUP_NOTICES_PER_RUN add 85 KB, and an item has 400."""
REMINDER_READS_MAX: Final = 200
"""Monitors, hosts and alerts that a run reads for the reminders of a tenant's groups, some 3 ms each."""
GROUP_HEARERS_MAX: Final = 20
"""Channels that hear of an alert as part of its group; further ones hear of it alone."""
GROUP_TEXT_CHARACTERS_MAX: Final = 80
"""Of an alert's title and message in a group: 1.3 KB of JSON at most, with the ids of its channels 1.7."""
GROUP_ALERTS_PER_MESSAGE: Final = 20
"""Alerts in one message about a group, which has to fit the queue."""
PUBLISH_BYTES_MAX: Final = 900_000
"""Deliveries of one publish as JSON: the queues' function takes FORM_BYTES_MAX, with keys and names of fields."""
SENT_AT_ONCE: Final = 16
"""Deliveries that are made at the same time; each takes CHECK_S at most."""
SEND_LEASE_S: Final = 60
"""How long a notifier has its deliveries: then it died."""
SEND_PAUSES_S: Final = (60, 240, 900, 900)
"""Pauses between the tries of a delivery; a channel may be away for half an hour before it is a dead letter."""
SENT_PER_TENANT: Final = 8
"""Of SENT_AT_ONCE: channels of one tenant that do not answer leave threads for the others."""
SENT_TOGETHER: Final = 4
"""Deliveries that a thread takes at once: a call to the queues' function costs as much as a delivery."""
SEND_SLOW_S: Final = 5.0
"""A try that fails after so long was no refusal, but a channel that does not answer.  After so long a thread gives back
what it took: two thirds of its lease are left for the try that it is in."""
CHANNEL_TIMEOUTS: Final = 2
"""Tries in a row that a channel does not answer; then it rests."""
CHANNEL_REST_S: Final = 300
"""How long a channel rests that does not answer: its deliveries wait, without a try."""
HOST_SILENT_TENANTS: Final = 3
"""Different tenants in a row that a host does not answer; then it rests for all of them.  One tenant, or one with a
second account, makes no host rest for others."""
HOST_REST_S: Final = 60
"""How long after its last silence a host rests: an outage costs SENT_AT_ONCE tries every second run."""
DELIVERY_KEPT_S: Final = 2_100
"""How old a delivery may be to wait without a try: as long as the pauses between its tries are together."""
DISPATCH_RESERVE_S: Final = 40.0
"""With less time left of its 60 s a notifier first puts on the stream what rules recorded."""
RECORD_RESERVE_S: Final = 30.0
"""With less time left a notifier brings nothing more into queue or stream: sending has ten seconds of each run."""
SEND_RESERVE_S: Final = 20.0
"""A notifier begins nothing with less time left: what it began takes CHECK_S, and some calls."""

# Rules of Prometheus
RULE_FILE_BYTES_MAX: Final = 256 * 1024
"""A rule file, as it comes and as the JSON that is stored and answered, so that this may be put back."""
RULE_FILE_ITEM_BYTES_MAX: Final = 390_000
"""A rule file with the times of its groups, whose names are there twice."""
RULE_FILE_DEPTH_MAX: Final = 12
"""Lists and mappings within each other in a rule file, which has five."""
RULE_FILE_NODES_MAX: Final = 20_000
"""Values and names of fields in a rule file: 50 groups of 10 rules with five labels and annotations each."""
RULE_FILES_PER_TENANT_MAX: Final = 10
"""Rule files of a tenant, all of which are read each minute: 2.6 MB at most, as of monitors."""
RULE_GROUPS_PER_FILE_MAX: Final = 50
"""Groups of a rule file; each is an item that is written at every evaluation, and the states of all are read."""
RULES_PER_GROUP_MAX: Final = 100
"""Rules of a group, which are evaluated one after the other; the largest groups that are published have some 40."""
RULE_TEXT_BYTES_MAX: Final = 4_096
"""A label or annotation of a rule, as it is written."""
RULE_S: Final = 4.0
"""One rule, its query and its templates; then it failed, and the next one is evaluated."""
GROUP_S: Final = 6.0
"""One evaluation of a group; rules that are left then fail, and say so."""
RULE_ERROR_CHARACTERS_MAX: Final = 300
"""Why a rule failed, of which JSON makes 1.8 KB at most: the state of a group is one item."""
RULE_SERIES_MAX: Final = 2_000
"""Series or alerts that one rule gives: each is a sample every minute, some cents a year."""
GROUP_ALERTS_BYTES_MAX: Final = 100_000
"""The alerts of a group, as JSON: 250 of them. The states of all groups of a tenant are read each minute."""
GROUP_SERIES_BYTES_MAX: Final = 250_000
"""The names of the series of a group, as JSON: an item of the table has 400 KB."""
RULE_CATCH_UP: Final = 15
"""Evaluations of a group that are made up for in one minute; what was missed before is a gap."""
RULES_S: Final = 12.0
"""Time in a minute in which groups of rules of another tenant are begun; monitors have the rest."""
RULES_TENANT_S: Final = 5.0
"""Time in a minute in which an evaluation of one tenant is begun, of groups first that waited longest."""
RECORDED_ITEM_BYTES: Final = 200_000
"""Records of an evaluation in one item, as base64 a third more."""
RECORDED_PER_TENANT: Final = 400
"""Items of a tenant that are sent in a minute: all groups of eight files, or what was made up for."""
RECORDED_BYTES: Final = 4_000_000
"""Records of a tenant that the notifier has in memory."""
RECORDED_WAITING_BYTES_MAX: Final = 32_000_000
"""What rules of a tenant recorded that is not on the stream yet; with more, none of its groups is evaluated."""
TEMPLATES_REMEMBERED: Final = 200
"""Templates that an instance has parsed: of one of 4 KB that is all actions 0.4 MB."""
PATTERNS_REMEMBERED: Final = 64
"""Regular expressions that an instance has compiled, of queries and templates: over hostile text each takes 1.1 MB."""
TEMPLATE_DEPTH_MAX: Final = 20
"""Blocks or parentheses within each other in a template."""
TEMPLATE_STEPS_MAX: Final = 10_000
"""Values that one expansion of a template computes: some ten milliseconds."""
TEMPLATE_OUT_BYTES_MAX: Final = 8_192
"""What one expansion of a template writes."""
TEMPLATE_REPLACE_STEPS_MAX: Final = 40_000
"""Of one reReplaceAll: 2,000 replacements, or as many parts of what is put in: some fifty milliseconds."""
TEMPLATE_WIDTH_MAX: Final = 200
"""Width and precision of a verb of printf."""

# Integrations of clouds
CLOUD_INTEGRATIONS_PER_TENANT_MAX: Final = 20
"""Integrations of a tenant and a cloud: each is a region of an account, or a subscription."""
CLOUD_EVERY_MINUTES: Final = 5
"""How often an integration is read: a thousand metrics each minute would cost $438 a month, so $88."""
CLOUD_BUDGET_DOLLARS: Final = 50.0
"""What an integration may spend a month on calls of its cloud, unless its settings say otherwise."""
CLOUD_BUDGET_DOLLARS_MAX: Final = 10_000.0
"""The same, at most: more is a slip."""
CLOUD_RESOURCES_MAX: Final = 1_000
"""Resources of one integration, each a host: their list must fit an item, and their rows a run."""
CLOUD_METRICS_MAX: Final = 10_000
"""Metrics of one run: twenty calls of CloudWatch."""
CLOUD_PAGES_MAX: Final = 200
"""Pages of one list of a cloud: some seconds, and 100,000 metrics."""
CLOUD_METRIC_NAMES_MAX: Final = 500
"""Names of metrics that the settings of one service may list: more than any service has."""
CLOUD_TAGS_CHARACTERS_MAX: Final = 2_000
"""Tags of an integration, as text."""
CLOUD_BACK_S: Final = 1_200
"""How far back each run reads: points that come late are filled in, and a run that was missed is caught up."""
CLOUD_DELAY_S: Final = 120
"""The last minutes, which are not read: their points are not complete yet."""
CLOUD_INVENTORY_S: Final = 3_600
"""How long an instance remembers which resources and metrics there are."""
CLOUD_INVENTORIES_MAX: Final = 16
"""Integrations of which an instance remembers that: some MB."""
CLOUD_AT_ONCE: Final = 2
"""Integrations that a worker reads at the same time: their rows share its memory."""
CLOUD_CALLS_AT_ONCE: Final = 8
"""Calls of one run under way at once: a thousand machines of Azure take a call each."""
CLOUD_JOBS_PER_WORKER: Final = 2
"""Integrations for which one worker is called: slow ones keep no others waiting."""
CLOUD_WORKERS_MAX: Final = 20
"""Workers that are called in one minute."""
CLOUD_LATE_MINUTES: Final = 10
"""Older jobs are dropped: the newer ones read the same span."""
CLOUD_RESERVE_S: Final = 55.0
"""A worker takes no integration with less time left."""
CLOUD_STOP_S: Final = 15.0
"""With less time left a run makes no further call: it stores what it read and says what it did not."""
CLOUD_LEASE_S: Final = 90
"""How long a worker has an integration: then it died."""
CLOUD_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""An answer of a cloud's API that is read by hand."""
CLOUD_CALL_S: Final = 10.0
"""One such call; then the cloud counts as away."""
CLOUD_MESSAGE_CHARACTERS_MAX: Final = 1_000
"""What people read about the last run."""
EXTERNAL_IDS_PER_TENANT_MAX: Final = 20
"""External ids of a tenant that no integration has yet; the oldest is forgotten for one more."""
CLOUDWATCH_QUERIES_MAX: Final = 500
"""CloudWatch GetMetricData: queries of one call."""
CLOUDWATCH_STATISTICS_MAX: Final = 5
"""Statistics of one metric in one call of GetMetricData that are billed as one metric."""
AZURE_METRICS_PER_CALL_MAX: Final = 20
"""Azure Monitor: metrics of one call."""

# Queues
QUEUE_NAME_CHARACTERS_MAX: Final = 80
"""The name of a queue: those of notifications have the name of a tenant in theirs."""
QUEUES_PER_TENANT_MAX: Final = 20
"""Queues of a tenant: with their longest length 60 MB of Redis.  The operator has one of notifications for each tenant
beside these."""
QUEUE_LENGTH_MAX: Final = 20_000
"""Messages of a queue that are in Redis, some 150 bytes each; more are refused until some were taken."""
MESSAGE_BYTES_MAX: Final = 32 * 1024
"""The body of a message, as JSON: a hundred fit an answer of Lambda."""
MESSAGES_PER_CALL_MAX: Final = 100
"""Messages of one publish or take, and leases of one call: a DynamoDB BatchGetItem takes as many."""
MESSAGE_KEY_CHARACTERS_MAX: Final = 256
"""What a publisher calls a message, so that it is published once."""
MESSAGE_KEY_S: Final = 3_600
"""How long a key is remembered: publishers repeat what failed within minutes."""
MESSAGE_TRIES_MAX: Final = 5
"""How often a message is taken before it is a dead letter."""
DELAY_S_MAX: Final = 30 * 86_400
"""How much later than it is published a message may be due."""
DELAY_IN_REDIS_S: Final = 300
"""A message that is due later is in the table alone; the sweep of each minute brings it in time."""
LEASE_S_MAX: Final = 900
"""How long a taker may keep a message without saying so: what a Lambda function can run."""
LEASE_S: Final = 30
"""The same unless the taker says otherwise."""
TAKE_WAIT_S_MAX: Final = 20
"""How long a take may wait for messages: API Gateway gives up after 30 s."""
TAKE_POLL_S: Final = 0.5
"""How often a waiting take looks again: a call of some 20 us of Redis."""
TAKERS_WAITING_MAX: Final = 10
"""Takers of a tenant that wait at once: each keeps an instance of 512 MB busy, $17.50 a month if it waits always."""
TAKEN_AHEAD: Final = 256
"""Messages that may be taken before the table must note it again: after a loss of Redis so many, those that were not
taken yet among them, wait until the longest lease is over."""
QUEUE_PAGE: Final = 500
"""Messages that one call takes from the table into Redis when a queue is built again: some milliseconds of Redis."""
QUEUE_BUILD_S: Final = 5.0
"""How long one call builds a queue again before it answers 503; the next one goes on where it stopped."""
QUEUE_AUDIT_S: Final = 3_600
"""How often a queue is compared with its table: a publisher that died between the two left a message in one alone."""
PURGE_MESSAGES_MAX: Final = 2_000
"""Messages that one purge deletes: some seconds; the answer says whether there are more."""
QUEUE_DELETION_S: Final = 60
"""A queue that was deleted is not made again for so long: whoever began before is at its end, after 28 s at most."""
DEAD_COUNTED_MAX: Final = 1_000
"""Dead letters that are counted: a query reads them whole."""
SWEEP_RESERVE_S: Final = 10.0
"""The sweep begins no further queue with less time left."""

# The page
SESSION_S: Final = 7 * 86_400
"""How long a session lives after its last use."""
SESSION_S_MAX: Final = 30 * 86_400
"""How long a session lives whatever its use: then its owner shows the key again."""
SESSION_TOUCH_S: Final = 300
"""How often the use of a session is noted: a write of Redis for each token would be one a minute and page."""
SESSIONS_PER_KEY_MAX: Final = 100
"""Sessions of one API key; the one that ends first gives way, so that sign-ins can't fill Redis."""
SESSION_AGENT_CHARACTERS_MAX: Final = 200
"""Of the User-Agent that a session keeps, so that people tell their sessions apart."""
TOKEN_S: Final = 60
"""How long the token of a session is good: what a revoked session can still do outside the VPC."""
TOKEN_BYTES_MAX: Final = 1_024
"""A longer token is unknown; a tenant's name has a fraction of this."""
BATCH_SOURCES_MAX: Final = 100
"""Sources of one batch read: lines of one graph, or rows of a list that are seen at once."""
BATCH_SERIES_MAX: Final = 2_000
"""Series of one batch read over all its sources: a busy host has 200."""
BATCH_POINTS_MAX: Final = 300_000
"""Numbers in the answer of a batch read: 6 MB of JSON before gzip."""
BATCH_READERS: Final = 8
"""Sources of a batch that are read at the same time."""
HOT_SERIES_MAX: Final = 50
"""Series of one call of the read script: its work is rows times series, and it holds its Redis thread."""
CACHE_S: Final = 3_600
"""How long an entry of the cache of reads lives: what a page asks again and again, not what was asked once."""
CACHE_FILL_MAX: Final = 0.5
"""Part of Redis' memory beyond which nothing is cached: the rest is for rows, which nothing may push out."""
CACHE_LOOK_S: Final = 10.0
"""How often an instance asks how full Redis is, and notes how often the cache had something."""
CACHE_ENTRY_BYTES_MAX: Final = 512 * 1024
"""One entry: a week of a hundred metrics in buckets of an hour has 100,000."""
CACHE_NEAR_BYTES_MAX: Final = 64 * 1024 * 1024
"""Entries that one instance of the reader keeps in its own memory, of 1 GB."""
CACHE_INFLATED_BYTES_MAX: Final = 8 * 1024 * 1024
"""The same before compression."""
CHECK_HOSTS_MAX: Final = 100
"""Hosts of one GET /carbyne/v1/checks: rows of a list that are seen at once."""
DASHBOARDS_PER_TENANT_MAX: Final = 1_000
"""Dashboards of a tenant; their list reads them all."""
DASHBOARD_BYTES_MAX: Final = 300_000
"""A dashboard as JSON: an item holds 409,600 bytes."""
WIDGETS_MAX: Final = 200
"""Widgets of one dashboard; each may be a read."""
TITLE_CHARACTERS_MAX: Final = 255
"""The title of a dashboard or an annotation."""
ANNOTATIONS_FOUND_MAX: Final = 1_000
"""Annotations of one answer; a graph with more lines says nothing."""
ANNOTATION_CHARACTERS_MAX: Final = 10_000
"""The description of an annotation: a deploy's list of changes."""

assert RECORD_RAW_BYTES_MAX < RECORD_BYTES_MAX < RECORD_INFLATED_BYTES_MAX
assert ROW_RAW_BYTES_MAX < RECORD_RAW_BYTES_MAX
assert RECORD_BYTES_MAX < PUT_BYTES_MAX
assert EXPRESSION_LINES_MAX * EXPRESSION_SPAN_MS_MAX <= BATCH_POINTS_MAX * 24 * 60 * 60 * 1000
assert METRIC_NAME_BYTES_MAX <= SORT_KEY_BYTES_MAX
assert SERIES_KEY_BYTES_MAX < ROW_RAW_BYTES_MAX
assert min(SERIES_WATCHED_MAX, LOOKED_AT_SERIES_MAX) > SERIES_PER_SOURCE_MAX << DIVISION_BITS_MAX
assert ACTIVE_SERIES_MAX // SERIES_PER_SOURCE_MAX < DIVIDED_TARGETS_MAX
assert 2 * PAIR_NOTED_S < PAIR_SILENT_S
assert LABEL_VALUE_BYTES_MAX < SERIES_KEY_BYTES_MAX
assert 2 * PUT_CALL_S + PUT_PAUSE_S_MAX <= PUT_BUDGET_S
assert OLD_WINDOWS_PER_BODY_MAX <= OLD_WINDOWS_PER_MINUTE_MAX
assert USAGE_MINUTES_KEPT <= USAGE_MINUTES_HELD
assert TARGETS_PER_BODY_MAX * FACT_COST_US <= PORTION_COST_US_MAX
assert PORTION_COST_US_MAX / 1e6 + 4 * REDIS_BUDGET_S < INGEST_RESERVE_S
assert EARLY_FILL_MAX_REPLAY < REPLAY_FILL_MAX < EARLY_FILL_MAX < ADMIT_FILL_MAX < 1
assert 0 < EARLY_FILL_GOAL < EARLY_FILL_MAX_REPLAY
assert EARLY_SLICE_S < 300 - SEAL_RESERVE_S, "the sealer's time-out"
assert WAIT_MS < REDIS_TIMEOUT_S * 1000 < REDIS_BUDGET_S * 1000
assert FAILOVER_PAUSE_MS < REDIS_TIMEOUT_S * 1000
assert REDIS_TOKEN_RENEW_S + REDIS_BUDGET_S < REDIS_TOKEN_S
assert CATALOGUE_NAMES_BYTES_MAX + 20 * CATALOGUE_PAGE_SERIES_MAX < CATALOGUE_PAGE_BYTES_MAX
assert CATALOGUE_PAGE_SERIES_MAX * NAME_BYTES_MAX < CATALOGUE_NAMES_BYTES_MAX
assert CATALOGUE_PAGE_BYTES_MAX < CATALOGUE_INFLATED_BYTES_MAX
assert BLOCK_BYTES_MAX + 2_048 + 1_024 + 2_000 <= 400 * 1024
assert BLOCK_BYTES_MAX < BLOCK_INFLATED_BYTES_MAX
assert CHECK_S < CHECK_RESERVE_S < CHECK_LEASE_S
assert CLOUD_JOBS_PER_WORKER <= CLOUD_AT_ONCE
assert CLOUD_STOP_S < CLOUD_RESERVE_S < 75 < CLOUD_LEASE_S, "a worker runs for 75 s"
assert (CLOUD_LATE_MINUTES + CLOUD_EVERY_MINUTES) * 60 + CLOUD_DELAY_S <= CLOUD_BACK_S, "no span is left out"
assert CHECKS_PER_WORKER <= 3 * CHECKS_AT_ONCE
assert TAKE_WAIT_S_MAX + QUEUE_BUILD_S < 28, "API Gateway gives up after 30 s"
assert MESSAGES_PER_CALL_MAX * (MESSAGE_BYTES_MAX + 1_024) < ANSWER_BYTES_MAX * 3 // 4
assert TOKEN_S <= TENANT_CACHE_S, "a revoked session may not outlive a revoked key"
assert SESSION_TOUCH_S < SESSION_S < SESSION_S_MAX
assert DELETED_SERIES_MAX <= DELETES_PER_MINUTE_MAX, "a delete by selectors fits a minute"
assert 2 * DELETED_SERIES_MAX * SERIES_KEY_BYTES_MAX < ANSWER_PLAIN_BYTES_MAX, "the writer reads a plain answer"
