#include "hash_order.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A bucket has the rows whose hashes begin with the same bits. A bucket fits in the cache of a core for sorting. With
 * more buckets than the TLB of the processor has entries, scattering would be slow. */
enum { BUCKET_ROWS = 1 << 15, MAX_BUCKET_BITS = 11, MAX_BUCKETS = 1 << MAX_BUCKET_BITS };
/* Minimum number of rows of a thread. Below it, a thread costs more time than it saves. */
enum { MIN_ROWS_OF_THREAD = 1 << 17 };

/* An entry has the 32 bits of the hash after the bits of the bucket, and then the 32-bit place of the row. */
enum { ROW_BITS = 32 };
#define ROW_MASK UINT32_MAX

/* The state that all threads of a call share. */
typedef struct {
    HashedRows rows;
    uint64_t *out;
    size_t n_threads;
    unsigned bucket_bits;
    size_t starts[MAX_BUCKETS + 1];
    size_t (*places)[MAX_BUCKETS]; /* for each thread: its row count of each bucket, later the place of its next row */
    bool failed;
} Sort;

typedef struct {
    Sort *sort;
    size_t number;
} Thread;

static inline uint64_t mix(uint64_t hash) {
    hash = (hash ^ hash >> 33) * 0xFF51AFD7ED558CCD;
    hash = (hash ^ hash >> 33) * 0xC4CEB9FE1A85EC53;
    return hash ^ hash >> 33;
}

static inline uint64_t hash_of(HashKey key, uint64_t row) { return mix(mix(row + key.first) ^ key.second); }

/* Return the hash of the row at a place, without the leading bits that all rows share. */
static inline uint64_t hash_at(const HashedRows *rows, uint64_t place) {
    uint32_t number = (uint32_t)place;
    if (rows->numbers != NULL) {
        memcpy(&number, rows->numbers + place * sizeof number, sizeof number);
    }
    return hash_of(rows->key, number) << rows->same_bits;
}

static inline size_t bucket_of(const Sort *sort, uint64_t hash) {
    return sort->bucket_bits == 0 ? 0 : (size_t)(hash >> (64 - sort->bucket_bits));
}

static size_t first_row(const Sort *sort, size_t thread) { return (size_t)((__uint128_t)sort->rows.n * thread / sort->n_threads); }

static void *count_rows(void *argument) {
    const Thread *thread = argument;
    const Sort *sort = thread->sort;
    size_t *counts = sort->places[thread->number];
    const size_t stop = first_row(sort, thread->number + 1);
    memset(counts, 0, sizeof sort->places[0]);
    for (size_t row = first_row(sort, thread->number); row < stop; row++) {
        counts[bucket_of(sort, hash_at(&sort->rows, row))]++;
    }
    return NULL;
}

/* Turn the row counts of each thread into places: the buckets follow each other, and in each bucket the rows of thread
 * 0 come first, then the rows of thread 1, and so on. */
static void place_buckets(Sort *sort) {
    size_t place = 0;
    for (size_t bucket = 0; bucket < (size_t)1 << sort->bucket_bits; bucket++) {
        sort->starts[bucket] = place;
        for (size_t thread = 0; thread < sort->n_threads; thread++) {
            const size_t count = sort->places[thread][bucket];
            sort->places[thread][bucket] = place;
            place += count;
        }
    }
    sort->starts[(size_t)1 << sort->bucket_bits] = place;
}

static void *scatter_rows(void *argument) {
    const Thread *thread = argument;
    const Sort *sort = thread->sort;
    size_t *places = sort->places[thread->number];
    const size_t stop = first_row(sort, thread->number + 1);
    for (size_t row = first_row(sort, thread->number); row < stop; row++) {
        const uint64_t hash = hash_at(&sort->rows, row);
        const uint64_t next_bits = hash << sort->bucket_bits >> ROW_BITS;
        sort->out[places[bucket_of(sort, hash)]++] = next_bits << ROW_BITS | row;
    }
    return NULL;
}

static void sort_by_insertion(uint64_t *entries, size_t n) {
    for (size_t i = 1; i < n; i++) {
        const uint64_t entry = entries[i];
        size_t place = i;
        for (; place > 0 && entries[place - 1] > entry; place--) {
            entries[place] = entries[place - 1];
        }
        entries[place] = entry;
    }
}

/* Sort the elements `first` to `stop` of `out`, which already are places of rows, by their whole hashes. */
static void sort_by_hash(const Sort *sort, size_t first, size_t stop) {
    for (size_t i = first + 1; i < stop; i++) {
        const uint64_t row = sort->out[i];
        size_t place = i;
        for (; place > first && hash_at(&sort->rows, sort->out[place - 1]) > hash_at(&sort->rows, row); place--) {
            sort->out[place] = sort->out[place - 1];
        }
        sort->out[place] = row;
    }
}

/* Sort one bucket: put the entries into bins by their upper bits, about one entry in each bin, then sort by insertion. */
static void sort_bucket(const Sort *sort, size_t first, size_t stop, unsigned bin_bits, uint64_t *entries, uint32_t *bins) {
    const size_t n = stop - first;
    const unsigned shift = 64 - bin_bits;
    memset(bins, 0, sizeof *bins << bin_bits);
    for (size_t i = first; i < stop; i++) {
        bins[sort->out[i] >> shift]++;
    }
    uint32_t place = 0;
    for (size_t bin = 0; bin < (size_t)1 << bin_bits; bin++) {
        const uint32_t count = bins[bin];
        bins[bin] = place;
        place += count;
    }
    for (size_t i = first; i < stop; i++) {
        entries[bins[sort->out[i] >> shift]++] = sort->out[i];
    }
    sort_by_insertion(entries, n);
    size_t equal = 0; /* number of entries just before this one that have the same 32 bits of the hash */
    for (size_t i = 0; i < n; i++) {
        sort->out[first + i] = entries[i] & ROW_MASK;
        equal = i > 0 && entries[i] >> ROW_BITS == entries[i - 1] >> ROW_BITS ? equal + 1 : 0;
        if (equal > 0) {
            sort_by_hash(sort, first + i - equal, first + i + 1);
        }
    }
}

static void *sort_buckets(void *argument) {
    const Thread *thread = argument;
    Sort *sort = thread->sort;
    const size_t n_buckets = (size_t)1 << sort->bucket_bits, *starts = sort->starts;
    size_t most = 0;
    for (size_t bucket = 0; bucket < n_buckets; bucket++) {
        most = starts[bucket + 1] - starts[bucket] > most ? starts[bucket + 1] - starts[bucket] : most;
    }
    unsigned bin_bits = 1;
    while ((size_t)1 << bin_bits < most && bin_bits < ROW_BITS - 1) {
        bin_bits++;
    }
    uint64_t *entries = malloc((most + 1) * sizeof *entries);
    uint32_t *bins = malloc(sizeof *bins << bin_bits);
    if (entries == NULL || bins == NULL) {
        __atomic_store_n(&sort->failed, true, __ATOMIC_RELAXED);
    } else {
        for (size_t bucket = thread->number; bucket < n_buckets; bucket += sort->n_threads) {
            sort_bucket(sort, starts[bucket], starts[bucket + 1], bin_bits, entries, bins);
        }
    }
    free(entries);
    free(bins);
    return NULL;
}

/* Run a step in all threads. The caller's thread is one of them, and does the work of threads that cannot be created. */
static void run_step(Sort *sort, void *(*step)(void *)) {
    Thread threads[MAX_HASH_THREADS];
    pthread_t handles[MAX_HASH_THREADS];
    bool is_running[MAX_HASH_THREADS];
    for (size_t i = 0; i < sort->n_threads; i++) {
        threads[i] = (Thread){sort, i};
        is_running[i] = i > 0 && pthread_create(&handles[i], NULL, step, &threads[i]) == 0;
    }
    for (size_t i = 0; i < sort->n_threads; i++) {
        if (!is_running[i]) {
            step(&threads[i]);
        }
    }
    for (size_t i = 0; i < sort->n_threads; i++) {
        if (is_running[i]) {
            pthread_join(handles[i], NULL);
        }
    }
}

bool hash_order(const HashedRows *rows, uint64_t *out, size_t n_threads) {
    Sort *sort = calloc(1, sizeof *sort);
    if (sort == NULL) {
        return false;
    }
    const size_t n = rows->n, useful = n / MIN_ROWS_OF_THREAD + 1;
    sort->rows = *rows;
    sort->out = out;
    sort->n_threads = n_threads < useful ? n_threads : useful;
    while (n >> sort->bucket_bits > BUCKET_ROWS && sort->bucket_bits < MAX_BUCKET_BITS) {
        sort->bucket_bits++;
    }
    sort->places = malloc(sort->n_threads * sizeof *sort->places);
    bool done = false;
    if (sort->places != NULL) {
        run_step(sort, count_rows);
        place_buckets(sort);
        run_step(sort, scatter_rows);
        run_step(sort, sort_buckets);
        done = !sort->failed;
    }
    free(sort->places);
    free(sort);
    return done;
}

void hash_buckets(HashKey key, uint64_t first, unsigned bits, uint16_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint16_t)(bits == 0 ? 0 : hash_of(key, first + i) >> (64 - bits));
    }
}
