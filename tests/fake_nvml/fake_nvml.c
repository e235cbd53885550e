/* A stand-in for the NVIDIA driver's libnvidia-ml.so.1, for tests on machines without a GPU.
 *
 * It is loaded by the real Python bindings (nvidia-ml-py) and driven by a plain text file, named by the
 * environment variable FAKE_NVML_CONTROL, which a test may replace at any time: every call looks whether the
 * file has changed. Without the file it shows one healthy, idle H100. README.md lists the control lines.
 *
 * What it imitates besides values: size calls that answer INSUFFICIENT_SIZE, lists that grow between two
 * calls, NOT_FOUND for 'no sample', blank values, a GPU that falls off the bus, a driver that is unloaded and
 * comes back with another version, calls that hang, and symbols that an older driver lacks (left out by the
 * linker, see __init__.py). Handles, event sets and GPM samples of a previous nvmlInit are refused.
 *
 * Numbers of return codes, field identifiers and structure layouts are those of NVIDIA's nvml.h.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef uint32_t u32;
typedef uint64_t u64;
typedef int nvmlReturn_t;
typedef void *nvmlDevice_t;

enum {
  OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
  DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15, LIB_RM_VERSION_MISMATCH = 18, NO_DATA = 21,
  ARGUMENT_VERSION_MISMATCH = 25,
};
enum { TYPE_DOUBLE = 0, TYPE_UINT = 1, TYPE_ULONGLONG = 3 };
enum { MAX_GPUS = 16, MAX_MIG = 7, MAX_PROCESSES = 64, MAX_FIELDS = 308, MAX_GPM = 200, MAX_RULES = 64 };
enum { MAX_EVENTS = 64, MAX_HISTORY = 64, MAX_CALLS = 128, NVLINK_LINKS = 18, TEXT = 96 };

/* ---------------------------------------------------------------- what the control file says */

#define UNKNOWN_MARGIN (1ull << 63) /* the margin has a sign */
typedef struct { double low, high, period, duty; } Wave; /* a constant is a wave with low == high */
typedef struct { u64 value; double rate; int ret, type; } Field;
typedef struct { double value; int ret; bool set; } Gpm;
typedef struct { u32 pid, sm, mem, enc, dec, gi, ci; u64 memory; bool graphics; } Process;

typedef struct {
  u64 memory_total, memory_used, memory_reserved, utilization, gi, ci, multiprocessors, slices;
  char name[TEXT], uuid[TEXT];
  Gpm gpm[MAX_GPM];
} Mig;

typedef struct {
  u64 lost, memory_total, memory_used, memory_reserved, bar1_total, bar1_used;
  u64 power_usage, power_limit, power_limit_default, power_limit_min, power_limit_max;
  u64 temperature, temperature_shutdown, temperature_slowdown, temperature_mem_max, temperature_gpu_max;
  u64 clock_graphics, clock_sm, clock_mem, clock_video;
  u64 clock_max_graphics, clock_max_sm, clock_max_mem, clock_max_video;
  u64 throttle_reasons, performance_state, fan_speed, encoder_utilization, decoder_utilization;
  u64 pcie_tx, pcie_rx, pcie_generation, pcie_width, pcie_max_generation, pcie_max_width;
  u64 nvlink_links, mig, mig_count, architecture, compute_major, compute_minor, gpm_supported;
  u64 temperature_margin, fans, persistence, sram_corrected, sram_parity, sram_secded, sram_threshold;
  u64 fabric_state, fabric_status, fabric_health;
  u64 sample_period, sample_capacity, process_growth;
  char name[TEXT], uuid[TEXT], bus[TEXT];
  Wave load, memory_load;
  Field field[MAX_FIELDS];
  Gpm gpm[MAX_GPM];
  Process process[MAX_PROCESSES];
  int processes;
  Mig migs[MAX_MIG];
} Gpu;

typedef struct { int gpu; char function[64]; double value; } Rule; /* gpu -1: every device */
typedef struct { u64 sequence, gpu, xid, type, gi; } Event;

typedef struct {
  u64 gpus, driver_loaded, driver_generation, cuda_version, throttle_fields;
  double clock;
  char driver_version[TEXT], nvml_version[TEXT];
  Gpu gpu[MAX_GPUS];
  Rule fail[MAX_RULES], hang[MAX_RULES];
  int fails, hangs;
  Event event[MAX_EVENTS];
  int events;
} Control;

/* ---------------------------------------------------------------- what lasts beyond one control file */

typedef struct { double since; Wave load, memory_load; } Past;
typedef struct { u64 seen; u32 session; bool registered[MAX_GPUS]; } EventSet;
typedef struct { int gpu; u64 gi; double time; } GpmSample;
typedef struct { const char *function; u64 count; } Calls;

static Control control;
static struct stat control_file;
static bool control_known;
static double accumulated[MAX_GPUS][MAX_FIELDS]; /* of counters, up to counted_since */
static double counted_since, clock_override;
static Past history[MAX_GPUS][MAX_HISTORY];
static int history_length[MAX_GPUS];
static u32 session; /* counts nvmlInit; part of every handle */
static u64 session_generation;
static int references;
static bool session_broken; /* the driver went away since nvmlInit */
static long gpm_samples_alive, event_sets_alive;
static Calls calls[MAX_CALLS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* ---------------------------------------------------------------- time and load */

static double now(void) {
  struct timespec t;
  if (clock_override > 0) return clock_override;
  if (control.clock > 0) return control.clock;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(double seconds) {
  struct timespec t = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
  nanosleep(&t, NULL);
}

static double wave_up_to(const Wave *w, double t) { /* integral from 0 to t */
  double whole = floor(t / w->period), rest = t - whole * w->period, on = w->duty * w->period;
  double in_rest = rest < on ? rest * w->high : on * w->high + (rest - on) * w->low;
  return whole * (on * w->high + (w->period - on) * w->low) + in_rest;
}

static double wave_between(const Wave *w, double from, double to) {
  if (w->low == w->high || w->period <= 0) return w->high * (to - from);
  return wave_up_to(w, to) - wave_up_to(w, from);
}

static double mean_load(int gpu, bool memory, double from, double to) {
  double sum = 0, end = to;
  for (int i = history_length[gpu] - 1; i >= 0 && end > from; i--) {
    const Past *past = &history[gpu][i];
    double start = i == 0 || past->since < from ? from : past->since;
    if (start >= end) continue;
    const Wave *wave = memory ? &past->memory_load : &past->load;
    sum += wave_between(wave, start, end);
    end = start;
  }
  return to > from ? sum / (to - from) : 0;
}

static void remember_load(int gpu, double since) {
  Past past = {since, control.gpu[gpu].load, control.gpu[gpu].memory_load};
  int *n = &history_length[gpu];
  if (*n && !memcmp(&history[gpu][*n - 1].load, &past.load, 2 * sizeof(Wave))) return;
  if (*n == MAX_HISTORY) memmove(history[gpu], history[gpu] + 1, --*n * sizeof(Past));
  history[gpu][(*n)++] = past;
}

/* ---------------------------------------------------------------- counters that advance with time */

/* nvml.h has counters of the thermal and brake reasons since R575, and moved them between 580.65 and 580.82; the other
 * numbers between 251 and 273 are settings of power smoothing. */
enum { NO_THROTTLE_FIELDS = 0, FIRST_SMOOTHING = 251, END_SMOOTHING = 274, BY_VERSION = -1 };
static const u64 RENUMBERED_REASONS[] = {0x20, 0x40, 0x80};

static u64 throttle_fields_of(const Control *c) {
  int major = 0, minor = 0;
  if ((int)c->throttle_fields != BY_VERSION) return c->throttle_fields;
  sscanf(c->driver_version, "%d.%d", &major, &minor);
  if (major < 575) return NO_THROTTLE_FIELDS;
  return major > 580 || (major == 580 && minor >= 82) ? 269 : 251;
}

static bool is_throttle_field(u64 first, int id) { return first && id >= (int)first && id < (int)first + 3; }

static double rate_of(const Gpu *gpu, int id) {
  u64 first = throttle_fields_of(&control), reason = id == 74 ? 0x4 : 0;
  if (is_throttle_field(first, id)) reason = RENUMBERED_REASONS[id - (int)first];
  if (gpu->throttle_reasons & reason) return 1e9;
  if (id == 83 && gpu->field[id].rate == 0) return (double)gpu->power_usage; /* mW are mJ per second */
  return gpu->field[id].rate;
}

static double grown(int index, int id) {
  double elapsed = now() - counted_since;
  return accumulated[index][id] + (elapsed > 0 ? rate_of(&control.gpu[index], id) * elapsed : 0);
}

static u64 counter(int index, int id) { /* a blank does not grow */
  u64 value = control.gpu[index].field[id].value;
  return value >> 62 ? value : value + (u64)grown(index, id);
}

static void settle_counters(void) {
  double t = now();
  for (int g = 0; g < MAX_GPUS; g++)
    for (int id = 0; id < MAX_FIELDS; id++) accumulated[g][id] = grown(g, id);
  counted_since = t;
}

/* ---------------------------------------------------------------- reading the control file */

#define NUMBER(member) {#member, offsetof(Gpu, member)}
static const struct { const char *key; size_t offset; } NUMBERS[] = {
  NUMBER(lost), NUMBER(memory_total), NUMBER(memory_used), NUMBER(memory_reserved), NUMBER(bar1_total),
  NUMBER(bar1_used), NUMBER(power_usage), NUMBER(power_limit), NUMBER(power_limit_default),
  NUMBER(power_limit_min), NUMBER(power_limit_max), NUMBER(temperature), NUMBER(temperature_shutdown),
  NUMBER(temperature_slowdown), NUMBER(temperature_mem_max), NUMBER(temperature_gpu_max), NUMBER(clock_graphics),
  NUMBER(clock_sm), NUMBER(clock_mem), NUMBER(clock_video), NUMBER(clock_max_graphics), NUMBER(clock_max_sm),
  NUMBER(clock_max_mem), NUMBER(clock_max_video), NUMBER(throttle_reasons), NUMBER(performance_state),
  NUMBER(fan_speed), NUMBER(encoder_utilization), NUMBER(decoder_utilization), NUMBER(pcie_tx), NUMBER(pcie_rx),
  NUMBER(pcie_generation), NUMBER(pcie_width), NUMBER(pcie_max_generation), NUMBER(pcie_max_width),
  NUMBER(nvlink_links), NUMBER(mig), NUMBER(mig_count), NUMBER(architecture), NUMBER(compute_major),
  NUMBER(compute_minor), NUMBER(gpm_supported), NUMBER(sample_period), NUMBER(sample_capacity),
  NUMBER(process_growth), NUMBER(temperature_margin), NUMBER(fans), NUMBER(persistence), NUMBER(sram_corrected),
  NUMBER(sram_parity), NUMBER(sram_secded), NUMBER(sram_threshold), NUMBER(fabric_state), NUMBER(fabric_status),
  NUMBER(fabric_health),
};

static void complain(const char *key) { fprintf(stderr, "fake_nvml: unknown control line '%s'\n", key); }
static u64 number(const char *text) { return text ? strtoull(text, NULL, 0) : 0; }
static double real(const char *text) { return text ? strtod(text, NULL) : 0; }
static void copy(char *to, const char *text) { snprintf(to, TEXT, "%s", text); }

static const char *option(const char *text, const char *name) { /* the value of name=value in a line */
  size_t length = strlen(name);
  for (const char *at = text; (at = strstr(at, name)); at += length)
    if (at[length] == '=' && (at == text || at[-1] == ' ')) return at + length + 1;
  return NULL;
}

static Wave constant(double value) { return (Wave){value, value, 0, 0}; }

static Wave square(const char *text) {
  return (Wave){real(option(text, "low")), real(option(text, "high")), real(option(text, "period")),
                real(option(text, "duty"))};
}

static void add_rule(Rule *rules, int *count, int gpu, const char *function, const char *value) {
  if (*count == MAX_RULES) return;
  Rule *rule = &rules[(*count)++];
  rule->gpu = gpu;
  rule->value = real(value);
  snprintf(rule->function, sizeof rule->function, "%s", function);
}

static void read_field(Gpu *gpu, const char *key, const char *text) {
  char *rest;
  u64 id = strtoull(key, &rest, 10);
  if (id >= MAX_FIELDS) return complain(key);
  Field *field = &gpu->field[id];
  if (!strcmp(rest, ".rate")) field->rate = real(text);
  else if (!strcmp(rest, ".fail")) field->ret = (int)number(text);
  else if (!strcmp(rest, ".type")) field->type = (int)number(text);
  else if (!*rest) field->value = number(text), field->ret = OK;
  else complain(key);
}

static void read_gpm(Gpm *gpm, const char *key, const char *text) {
  char *rest;
  u64 id = strtoull(key, &rest, 10);
  if (id >= MAX_GPM) return complain(key);
  if (!strcmp(rest, ".fail")) gpm[id].ret = (int)number(text);
  else gpm[id].value = real(text), gpm[id].set = true;
}

static void read_process(Gpu *gpu, const char *pid, const char *text) {
  int at = 0;
  while (at < gpu->processes && gpu->process[at].pid != number(pid)) at++;
  if (at == MAX_PROCESSES) return;
  if (at == gpu->processes) gpu->processes++;
  const char *gi = option(text, "gi"), *ci = option(text, "ci"), *memory = option(text, "memory");
  gpu->process[at] = (Process){
    .pid = (u32)number(pid), .sm = (u32)number(option(text, "sm")), .mem = (u32)number(option(text, "mem")),
    .enc = (u32)number(option(text, "enc")), .dec = (u32)number(option(text, "dec")),
    .gi = gi ? (u32)number(gi) : UINT32_MAX, .ci = ci ? (u32)number(ci) : UINT32_MAX,
    .memory = memory ? number(memory) : UINT64_MAX, .graphics = option(text, "graphics") != NULL};
}

static void read_mig(Gpu *gpu, const char *key, const char *text) {
  char *rest;
  u64 index = strtoull(key, &rest, 10);
  if (index >= MAX_MIG || *rest++ != '.') return complain(key);
  Mig *mig = &gpu->migs[index];
  if (!strcmp(rest, "memory_total")) mig->memory_total = number(text);
  else if (!strcmp(rest, "memory_used")) mig->memory_used = number(text);
  else if (!strcmp(rest, "memory_reserved")) mig->memory_reserved = number(text);
  else if (!strcmp(rest, "utilization")) mig->utilization = number(text);
  else if (!strcmp(rest, "gi")) mig->gi = number(text);
  else if (!strcmp(rest, "ci")) mig->ci = number(text);
  else if (!strcmp(rest, "multiprocessors")) mig->multiprocessors = number(text);
  else if (!strcmp(rest, "slices")) mig->slices = number(text);
  else if (!strcmp(rest, "name")) copy(mig->name, text);
  else if (!strcmp(rest, "uuid")) copy(mig->uuid, text);
  else if (!strncmp(rest, "gpm.", 4)) read_gpm(mig->gpm, rest + 4, text);
  else complain(key);
}

static void read_gpu(Control *c, int index, const char *key, const char *text) {
  Gpu *gpu = &c->gpu[index];
  for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++)
    if (!strcmp(key, NUMBERS[i].key)) {
      *(u64 *)((char *)gpu + NUMBERS[i].offset) = number(text);
      return;
    }
  if (!strcmp(key, "utilization")) gpu->load = constant(real(text));
  else if (!strcmp(key, "square")) gpu->load = square(text);
  else if (!strcmp(key, "memory_utilization")) gpu->memory_load = constant(real(text));
  else if (!strcmp(key, "name")) copy(gpu->name, text);
  else if (!strcmp(key, "uuid")) copy(gpu->uuid, text);
  else if (!strcmp(key, "bus")) copy(gpu->bus, text);
  else if (!strncmp(key, "field.", 6)) read_field(gpu, key + 6, text);
  else if (!strncmp(key, "gpm.", 4)) read_gpm(gpu->gpm, key + 4, text);
  else if (!strncmp(key, "process.", 8)) read_process(gpu, key + 8, text);
  else if (!strncmp(key, "mig.", 4)) read_mig(gpu, key + 4, text);
  else if (!strncmp(key, "fail.", 5)) add_rule(c->fail, &c->fails, index, key + 5, text);
  else if (!strncmp(key, "hang.", 5)) add_rule(c->hang, &c->hangs, index, key + 5, text);
  else complain(key);
}

static void read_gpus(Control *c, const char *key, const char *text) { /* key is '0.name' or '*.name' */
  const char *dot = strchr(key, '.');
  int first = *key == '*' ? 0 : atoi(key), last = *key == '*' ? MAX_GPUS - 1 : first;
  if (!dot || first < 0 || last >= MAX_GPUS) return complain(key);
  for (int i = first; i <= last; i++) read_gpu(c, i, dot + 1, text);
}

static void read_event(Control *c, const char *sequence, const char *text) {
  if (c->events == MAX_EVENTS) return;
  const char *type = option(text, "type"), *gi = option(text, "gi");
  c->event[c->events++] = (Event){number(sequence), number(option(text, "gpu")), number(option(text, "xid")),
                                  type ? number(type) : 8, gi ? number(gi) : UINT32_MAX};
}

static void read_line(Control *c, const char *key, const char *text) {
  if (!strncmp(key, "gpu.", 4)) read_gpus(c, key + 4, text);
  else if (!strncmp(key, "event.", 6)) read_event(c, key + 6, text);
  else if (!strncmp(key, "fail.", 5)) add_rule(c->fail, &c->fails, -1, key + 5, text);
  else if (!strncmp(key, "hang.", 5)) add_rule(c->hang, &c->hangs, -1, key + 5, text);
  else if (!strcmp(key, "gpus")) c->gpus = number(text) < MAX_GPUS ? number(text) : MAX_GPUS;
  else if (!strcmp(key, "driver_loaded")) c->driver_loaded = number(text);
  else if (!strcmp(key, "throttle_fields")) c->throttle_fields = number(text);
  else if (!strcmp(key, "driver_generation")) c->driver_generation = number(text);
  else if (!strcmp(key, "driver_version")) copy(c->driver_version, text);
  else if (!strcmp(key, "nvml_version")) copy(c->nvml_version, text);
  else if (!strcmp(key, "cuda_version")) c->cuda_version = number(text);
  else if (!strcmp(key, "clock")) c->clock = real(text);
  else complain(key);
}

static void default_fields(Gpu *gpu, u64 throttle_fields) {
  static const int SUPPORTED[] = {1, 3, 4, 5, 6, 38, 45, 52, 59, 74, 75, 76, 77, 79, 82, 83, 91, 94, 138, 139, 140, 141,
                                  142, 143, 144, 145, 160, 185, 186};
  for (int id = 0; id < MAX_FIELDS; id++) gpu->field[id] = (Field){0, 0, NOT_SUPPORTED, TYPE_ULONGLONG};
  for (size_t i = 0; i < sizeof SUPPORTED / sizeof *SUPPORTED; i++) gpu->field[SUPPORTED[i]].ret = OK;
  for (int id = FIRST_SMOOTHING; throttle_fields && id < END_SMOOTHING; id++)
    gpu->field[id] = (Field){!is_throttle_field(throttle_fields, id), 0, OK, TYPE_ULONGLONG};
  gpu->field[82].type = TYPE_UINT;
  gpu->field[82].value = 40;
  gpu->field[83].value = 5000000; /* 5 kJ since the driver was loaded */
  gpu->field[1].value = 1;
}

static void default_mig(Gpu *gpu, int gpu_index) {
  for (int i = 0; i < MAX_MIG; i++) {
    Mig *mig = &gpu->migs[i];
    *mig = (Mig){.memory_total = 10468982784, .memory_used = 13631488, .gi = (u64)i + 7, .multiprocessors = 16,
                 .slices = 1};
    snprintf(mig->name, TEXT, "NVIDIA H100 80GB HBM3 MIG 1g.10gb");
    snprintf(mig->uuid, TEXT, "MIG-00000000-0000-0000-%04d-%012d", i, gpu_index);
  }
}

static void default_gpu(Gpu *gpu, int index, u64 throttle_fields) { /* an idle H100 SXM */
  *gpu = (Gpu){
    .memory_total = 85520809984, .memory_used = 524288, .memory_reserved = 555024384, .bar1_total = 137438953472,
    .bar1_used = 1048576, .power_usage = 70000, .power_limit = 700000, .power_limit_default = 700000,
    .power_limit_min = 200000, .power_limit_max = 700000, .temperature = 30, .temperature_shutdown = 92,
    .temperature_slowdown = 89, .temperature_mem_max = 95, .temperature_gpu_max = 87, .clock_graphics = 345,
    .clock_sm = 345, .clock_mem = 2619, .clock_video = 765, .clock_max_graphics = 1980, .clock_max_sm = 1980,
    .clock_max_mem = 2619, .clock_max_video = 1545, .throttle_reasons = 1, .fan_speed = 0, .pcie_generation = 5,
    .pcie_width = 16, .pcie_max_generation = 5, .pcie_max_width = 16, .nvlink_links = 18, .architecture = 9,
    .compute_major = 9, .gpm_supported = 1, .temperature_margin = UNKNOWN_MARGIN, .persistence = 1, .sample_period = 166667, .sample_capacity = 120};
  snprintf(gpu->name, TEXT, "NVIDIA H100 80GB HBM3");
  snprintf(gpu->uuid, TEXT, "GPU-00000000-0000-0000-0000-%012d", index);
  snprintf(gpu->bus, TEXT, "00000000:%02X:00.0", 16 + index);
  default_fields(gpu, throttle_fields);
  default_mig(gpu, index);
}

static void defaults(Control *c, u64 throttle_fields) {
  memset(c, 0, sizeof *c);
  c->throttle_fields = (u64)BY_VERSION;
  c->gpus = c->driver_loaded = c->driver_generation = 1;
  c->cuda_version = 12040;
  copy(c->driver_version, "550.54.15");
  copy(c->nvml_version, "12.550.54.15");
  for (int i = 0; i < MAX_GPUS; i++) default_gpu(&c->gpu[i], i, throttle_fields);
}

static void read_control(Control *c, FILE *file) {
  char line[512];
  while (fgets(line, sizeof line, file) && strncmp(line, "===", 3)) { /* later steps of a scenario are not ours */
    line[strcspn(line, "#\r\n")] = 0;
    char *key = line + strspn(line, " \t"), *end = key + strcspn(key, " \t");
    char *text = end + strspn(end, " \t");
    if (!*key) continue;
    *end = 0;
    for (size_t n = strlen(text); n && text[n - 1] == ' ';) text[--n] = 0;
    read_line(c, key, text);
  }
}

static void adopt_control(FILE *file) {
  settle_counters(); /* at the old rates, before they change */
  defaults(&control, NO_THROTTLE_FIELDS);
  if (file) { /* twice: which fields there are depends on the driver's version, wherever that line stands */
    read_control(&control, file);
    defaults(&control, throttle_fields_of(&control));
    rewind(file);
    read_control(&control, file);
  }
  double since = now();
  for (int i = 0; i < MAX_GPUS; i++) remember_load(i, since);
  if (!counted_since) counted_since = since;
}

static bool same_file(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
         a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void refresh_control(void) {
  const char *path = getenv("FAKE_NVML_CONTROL");
  struct stat status;
  if (!path || stat(path, &status)) memset(&status, 0, sizeof status), path = NULL;
  if (control_known && same_file(&status, &control_file)) return;
  FILE *file = path ? fopen(path, "r") : NULL;
  adopt_control(file);
  if (file) fclose(file);
  control_file = status;
  control_known = true;
}

/* ---------------------------------------------------------------- what every call does first */

static void unlock(int *unused) {
  (void)unused;
  pthread_mutex_unlock(&mutex);
}
#define LOCK() int guard __attribute__((cleanup(unlock), unused)) = pthread_mutex_lock(&mutex)

static void count_call(const char *function) {
  for (int i = 0; i < MAX_CALLS; i++) {
    if (!calls[i].function) calls[i].function = function;
    if (strcmp(calls[i].function, function)) continue;
    calls[i].count++;
    return;
  }
}

static const Rule *rule_for(const Rule *rules, int count, const char *function, int gpu) {
  for (int i = count - 1; i >= 0; i--) { /* the last one that fits; 0 takes it back */
    bool here = rules[i].gpu < 0 || rules[i].gpu == gpu;
    if (here && (!strcmp(rules[i].function, function) || !strcmp(rules[i].function, "*")))
      return rules[i].value != 0 ? &rules[i] : NULL;
  }
  return NULL;
}

static void hang(const char *function, int gpu) { /* until the time is over or the line is gone */
  const Rule *rule;
  for (double slept = 0; (rule = rule_for(control.hang, control.hangs, function, gpu)); slept += 0.02) {
    if (slept >= rule->value) return;
    pthread_mutex_unlock(&mutex);
    nap(0.02);
    pthread_mutex_lock(&mutex);
    refresh_control();
  }
}

static nvmlReturn_t begin(const char *function, int gpu) {
  refresh_control();
  count_call(function);
  hang(function, gpu);
  const Rule *rule = rule_for(control.fail, control.fails, function, gpu);
  if (rule) return (int)rule->value;
  if (!references) return UNINITIALIZED;
  if (!control.driver_loaded || control.driver_generation != session_generation) session_broken = true;
  return session_broken ? DRIVER_NOT_LOADED : OK;
}

/* A handle is a number: the session in the upper bits, then the GPU, then the MIG device (0 for none). */
static nvmlDevice_t handle_of(int gpu, int mig) {
  return (nvmlDevice_t)(uintptr_t)((u64)session << 16 | (u64)(gpu + 1) << 8 | (u64)(mig + 1));
}
static int gpu_of(nvmlDevice_t handle) { return (int)((uintptr_t)handle >> 8 & 0xff) - 1; }
static int mig_of(nvmlDevice_t handle) { return (int)((uintptr_t)handle & 0xff) - 1; }

/* lost 1: nothing answers. lost 2: what the driver knows by heart still does, the look-up included. */
static bool is_lost(const char *function, int index) {
  static const char *BY_HEART[] = {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName", "nvmlDeviceGetUUID",
                                   "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetMigMode", "nvmlDeviceGetIndex"};
  for (size_t i = 0; control.gpu[index].lost == 2 && i < sizeof BY_HEART / sizeof *BY_HEART; i++)
    if (!strcmp(function, BY_HEART[i])) return false;
  return control.gpu[index].lost != 0;
}

static nvmlReturn_t begin_device(const char *function, nvmlDevice_t handle) {
  int index = gpu_of(handle);
  nvmlReturn_t ret = begin(function, index);
  if (ret) return ret;
  if ((uintptr_t)handle >> 16 != session || index < 0 || index >= (int)control.gpus) return INVALID_ARGUMENT;
  if (mig_of(handle) >= (int)control.gpu[index].mig_count) return INVALID_ARGUMENT;
  return is_lost(function, index) ? GPU_IS_LOST : OK;
}

#define CALL()                                                                                             \
  LOCK();                                                                                                  \
  nvmlReturn_t ret = begin(__func__, -1);                                                                  \
  if (ret) return ret
#define ANY_DEVICE(handle)                                                                                 \
  LOCK();                                                                                                  \
  nvmlReturn_t ret = begin_device(__func__, handle);                                                       \
  if (ret) return ret;                                                                                     \
  int index __attribute__((unused)) = gpu_of(handle);                                                      \
  Gpu *gpu __attribute__((unused)) = &control.gpu[index];                                                  \
  Mig *mig __attribute__((unused)) = mig_of(handle) < 0 ? NULL : &gpu->migs[mig_of(handle)]
#define GPU_ONLY(handle)                                                                                   \
  ANY_DEVICE(handle);                                                                                      \
  if (mig) return NOT_SUPPORTED

static nvmlReturn_t put(u32 *out, u64 value) {
  *out = (u32)value;
  return OK;
}

static nvmlReturn_t put_text(char *out, u32 size, const char *text) {
  if (size <= strlen(text)) return INSUFFICIENT_SIZE;
  strcpy(out, text);
  return OK;
}

/* ---------------------------------------------------------------- for tests that run in this process */

void fake_nvml_set_clock(double seconds) {
  LOCK();
  refresh_control();
  settle_counters();
  clock_override = seconds;
  settle_counters();
}

u64 fake_nvml_calls(const char *function) {
  LOCK();
  for (int i = 0; i < MAX_CALLS && calls[i].function; i++)
    if (!strcmp(calls[i].function, function)) return calls[i].count;
  return 0;
}

u64 fake_nvml_all_calls(void) {
  LOCK();
  u64 sum = 0;
  for (int i = 0; i < MAX_CALLS; i++) sum += calls[i].count;
  return sum;
}

long fake_nvml_gpm_samples_alive(void) { return gpm_samples_alive; }
long fake_nvml_event_sets_alive(void) { return event_sets_alive; }

/* ---------------------------------------------------------------- life cycle */

static nvmlReturn_t version_matches(void) {
#ifdef FAKE_NVML_DRIVER_VERSION /* the driver that this library file came with */
  if (strcmp(control.driver_version, FAKE_NVML_DRIVER_VERSION)) return LIB_RM_VERSION_MISMATCH;
#endif
  return OK;
}

nvmlReturn_t nvmlInitWithFlags(u32 flags) {
  LOCK();
  (void)flags;
  nvmlReturn_t ret = begin(__func__, -1);
  if (ret != OK && ret != UNINITIALIZED && ret != DRIVER_NOT_LOADED) return ret;
  if (!control.driver_loaded) return DRIVER_NOT_LOADED;
  if ((ret = version_matches())) return ret;
  if (references++) return session_broken ? (references--, DRIVER_NOT_LOADED) : OK;
  session++;
  session_generation = control.driver_generation;
  session_broken = false;
  return OK;
}

nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

nvmlReturn_t nvmlShutdown(void) {
  LOCK();
  nvmlReturn_t ret = begin(__func__, -1);
  if (!references) return UNINITIALIZED;
  references--;
  return ret == DRIVER_NOT_LOADED ? OK : ret;
}

const char *nvmlErrorString(nvmlReturn_t code) {
  switch (code) {
    case OK: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case TIMEOUT: return "Timeout";
    case GPU_IS_LOST: return "GPU is lost";
    case LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    default: return "Unknown Error";
  }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *out, u32 size) {
  CALL();
  return put_text(out, size, control.driver_version);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *out, u32 size) {
  CALL();
  return put_text(out, size, control.nvml_version);
}

static nvmlReturn_t cuda_version(const char *function, u32 *out) {
  LOCK();
  nvmlReturn_t ret = begin(function, -1);
  return ret ? ret : put(out, control.cuda_version);
}
nvmlReturn_t nvmlSystemGetCudaDriverVersion(u32 *out) { return cuda_version(__func__, out); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(u32 *out) { return cuda_version(__func__, out); }

nvmlReturn_t nvmlDeviceGetCount_v2(u32 *out) {
  CALL();
  return put(out, control.gpus);
}

static nvmlReturn_t give_handle(const char *function, int index, nvmlDevice_t *out) {
  nvmlReturn_t ret = begin(function, index);
  if (ret) return ret;
  if (is_lost(function, index)) return GPU_IS_LOST;
  *out = handle_of(index, -1);
  return OK;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(u32 index, nvmlDevice_t *out) {
  LOCK();
  refresh_control();
  return index < control.gpus ? give_handle(__func__, (int)index, out) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out) {
  LOCK();
  refresh_control();
  for (int i = 0; i < (int)control.gpus; i++)
    if (!strcmp(control.gpu[i].uuid, uuid)) return give_handle(__func__, i, out);
  return NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus, nvmlDevice_t *out) {
  LOCK();
  refresh_control();
  for (int i = 0; i < (int)control.gpus; i++)
    if (!strcasecmp(control.gpu[i].bus, bus)) return give_handle(__func__, i, out);
  return NOT_FOUND;
}

/* ---------------------------------------------------------------- identity */

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *out, u32 size) {
  ANY_DEVICE(handle);
  return put_text(out, size, mig ? mig->name : gpu->name);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *out, u32 size) {
  ANY_DEVICE(handle);
  return put_text(out, size, mig ? mig->uuid : gpu->uuid);
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, u32 *major, u32 *minor) {
  GPU_ONLY(handle);
  put(major, gpu->compute_major);
  return put(minor, gpu->compute_minor);
}

typedef struct { char busIdLegacy[16]; u32 domain, bus, device, pciDeviceId, pciSubSystemId; char busId[32]; } PciInfo;

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle, PciInfo *out) {
  GPU_ONLY(handle);
  memset(out, 0, sizeof *out);
  sscanf(gpu->bus, "%x:%x:%x", &out->domain, &out->bus, &out->device);
  snprintf(out->busId, sizeof out->busId, "%s", gpu->bus);
  snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%s", strlen(gpu->bus) > 4 ? gpu->bus + 4 : gpu->bus);
  out->pciDeviceId = 0x233010de;
  return OK;
}

/* ---------------------------------------------------------------- plain values */

#define GETTER(function, member)                                                                           \
  nvmlReturn_t function(nvmlDevice_t handle, u32 *out) {                                                   \
    GPU_ONLY(handle);                                                                                      \
    return put(out, member);                                                                               \
  }
GETTER(nvmlDeviceGetIndex, (u64)index)
GETTER(nvmlDeviceGetMinorNumber, (u64)index)
GETTER(nvmlDeviceGetArchitecture, gpu->architecture)
GETTER(nvmlDeviceGetPowerUsage, gpu->power_usage)
GETTER(nvmlDeviceGetEnforcedPowerLimit, gpu->power_limit)
GETTER(nvmlDeviceGetPowerManagementLimit, gpu->power_limit)
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, gpu->power_limit_default)
GETTER(nvmlDeviceGetPerformanceState, gpu->performance_state)
GETTER(nvmlDeviceGetPersistenceMode, gpu->persistence)
GETTER(nvmlDeviceGetCurrPcieLinkGeneration, gpu->pcie_generation)
GETTER(nvmlDeviceGetCurrPcieLinkWidth, gpu->pcie_width)
GETTER(nvmlDeviceGetMaxPcieLinkGeneration, gpu->pcie_max_generation)
GETTER(nvmlDeviceGetMaxPcieLinkWidth, gpu->pcie_max_width)
GETTER(nvmlDeviceGetPcieReplayCounter, counter(index, 94))

nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t handle, u32 *least, u32 *most) {
  GPU_ONLY(handle);
  put(least, gpu->power_limit_min);
  return put(most, gpu->power_limit_max);
}

nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t handle, u32 *out) {
  GPU_ONLY(handle);
  return gpu->fans ? put(out, gpu->fan_speed) : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t handle, u32 fan, u32 *out) {
  GPU_ONLY(handle);
  return fan >= gpu->fans ? INVALID_ARGUMENT : put(out, gpu->fan_speed);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, u32 sensor, u32 *out) {
  GPU_ONLY(handle);
  return sensor ? INVALID_ARGUMENT : put(out, gpu->temperature);
}

typedef struct { u32 version, sensor; int temperature; } Temperature;

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t handle, Temperature *out) {
  GPU_ONLY(handle);
  if (out->version != 0x100000C) return ARGUMENT_VERSION_MISMATCH;
  return put((u32 *)&out->temperature, gpu->temperature);
}

typedef struct { u32 version; int degrees; } Margin;

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t handle, Margin *out) {
  GPU_ONLY(handle);
  if (out->version != 0x1000008) return ARGUMENT_VERSION_MISMATCH;
  if (gpu->temperature_margin == UNKNOWN_MARGIN) return NOT_SUPPORTED;
  out->degrees = (int)gpu->temperature_margin;
  return OK;
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t handle, u32 kind, u32 *out) {
  GPU_ONLY(handle);
  const u64 limits[] = {gpu->temperature_shutdown, gpu->temperature_slowdown, gpu->temperature_mem_max,
                        gpu->temperature_gpu_max};
  return kind < 4 ? put(out, limits[kind]) : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t handle, u32 kind, u32 *out) {
  GPU_ONLY(handle);
  const u64 clocks[] = {gpu->clock_graphics, gpu->clock_sm, gpu->clock_mem, gpu->clock_video};
  return kind < 4 ? put(out, clocks[kind]) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t handle, u32 kind, u32 *out) {
  GPU_ONLY(handle);
  const u64 clocks[] = {gpu->clock_max_graphics, gpu->clock_max_sm, gpu->clock_max_mem, gpu->clock_max_video};
  return kind < 4 ? put(out, clocks[kind]) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t handle, u64 *out) {
  GPU_ONLY(handle);
  *out = gpu->throttle_reasons;
  return OK;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t handle, u64 *out) {
  GPU_ONLY(handle);
  *out = gpu->throttle_reasons;
  return OK;
}

/* ---------------------------------------------------------------- load and memory */

static u64 percent(double value) { return (u64)(value + 0.5); }

static double latest_load(int index, bool memory) { /* of the last full sampling period, as the driver reports it */
  double period = (double)control.gpu[index].sample_period / 1e6, end = floor(now() / period) * period;
  return mean_load(index, memory, end - period, end);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, u32 out[2]) {
  GPU_ONLY(handle);
  if (gpu->mig) return NOT_SUPPORTED;
  put(&out[0], percent(latest_load(index, false)));
  return put(&out[1], percent(latest_load(index, true)));
}

#define CODEC(function, member)                                                                            \
  nvmlReturn_t function(nvmlDevice_t handle, u32 *out, u32 *period) {                                      \
    GPU_ONLY(handle);                                                                                      \
    if (gpu->mig) return NOT_SUPPORTED;                                                                    \
    put(period, gpu->sample_period);                                                                       \
    return put(out, gpu->member);                                                                          \
  }
CODEC(nvmlDeviceGetEncoderUtilization, encoder_utilization)
CODEC(nvmlDeviceGetDecoderUtilization, decoder_utilization)

typedef struct { u64 total, used, reserved; } Memory;

static Memory memory_of(const Gpu *gpu, const Mig *mig) {
  if (mig) return (Memory){mig->memory_total, mig->memory_used, mig->memory_reserved};
  return (Memory){gpu->memory_total, gpu->memory_used, gpu->memory_reserved};
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, u64 out[3]) { /* total, free, used with the reserved part */
  ANY_DEVICE(handle);
  Memory memory = memory_of(gpu, mig);
  out[0] = memory.total;
  out[1] = memory.total - memory.used - memory.reserved;
  out[2] = memory.used + memory.reserved;
  return OK;
}

typedef struct { u32 version; u64 total, reserved, free, used; } MemoryV2;

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, MemoryV2 *out) {
  ANY_DEVICE(handle);
  if (out->version != 0x02000028) return ARGUMENT_VERSION_MISMATCH;
  Memory memory = memory_of(gpu, mig);
  out->total = memory.total;
  out->used = memory.used;
  out->reserved = memory.reserved;
  out->free = memory.total - memory.used - memory.reserved;
  return OK;
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t handle, u64 out[3]) {
  GPU_ONLY(handle);
  out[0] = gpu->bar1_total;
  out[1] = gpu->bar1_total - gpu->bar1_used;
  out[2] = gpu->bar1_used;
  return OK;
}

typedef struct { u64 time; union { double d; u32 ui; u64 ull; } value; } Sample;

static u32 sample_value(int index, u32 kind, u64 at) {
  const Gpu *gpu = &control.gpu[index];
  double period = (double)gpu->sample_period / 1e6, end = (double)at / 1e6;
  switch (kind) {
    case 0: return (u32)gpu->power_usage;
    case 3: return (u32)gpu->encoder_utilization;
    case 4: return (u32)gpu->decoder_utilization;
    case 5: return (u32)gpu->clock_sm;
    case 6: return (u32)gpu->clock_mem;
    default: return (u32)percent(mean_load(index, kind == 2, end - period, end));
  }
}

nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t handle, u32 kind, u64 seen, u32 *type, u32 *count, Sample *out) {
  GPU_ONLY(handle);
  if (kind > 6 || (gpu->mig && kind >= 1 && kind <= 4)) return NOT_SUPPORTED;
  u64 period = gpu->sample_period, last = (u64)(now() * 1e6) / period, first = last - gpu->sample_capacity + 1;
  if (seen / period + 1 > first) first = seen / period + 1;
  *type = TYPE_UINT;
  if (!out) return put(count, gpu->sample_capacity);
  if (first > last) return NOT_FOUND;
  if (*count < last - first + 1) return put(count, last - first + 1), INSUFFICIENT_SIZE;
  *count = 0;
  for (u64 i = first; i <= last; i++) {
    out[*count].time = i * period;
    out[(*count)++].value.ui = sample_value(index, kind, i * period);
  }
  return OK;
}

/* ---------------------------------------------------------------- energy, violations, fields */

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t handle, u64 *out) {
  GPU_ONLY(handle);
  *out = counter(index, 83);
  return OK;
}

typedef struct { u64 reference, violation; } Violation;

nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t handle, u32 policy, Violation *out) {
  GPU_ONLY(handle);
  static const int FIELD_OF_POLICY[] = {74, 75, 76, 77, 78, 79};
  if (policy >= 6) return NOT_SUPPORTED;
  out->reference = (u64)(now() * 1e6);
  out->violation = counter(index, FIELD_OF_POLICY[policy]);
  return OK;
}

typedef struct {
  u32 id, scope;
  int64_t time, latency;
  u32 type, ret;
  union { double d; u32 ui; u64 ull; } value;
} FieldValue;

static void fill_field(int index, FieldValue *out) {
  const Gpu *gpu = &control.gpu[index];
  const Field *field = out->id < MAX_FIELDS ? &gpu->field[out->id] : NULL;
  out->time = (int64_t)(now() * 1e6);
  out->latency = 10;
  out->ret = field ? (u32)field->ret : INVALID_ARGUMENT;
  if (out->ret) return;
  u64 links = gpu->nvlink_links ? NVLINK_LINKS : 0; /* those that are down count, too */
  u64 value = out->id == 91 ? links : counter(index, (int)out->id);
  bool per_link = out->id >= 138 && out->id <= 141, on_link = out->id >= 201 && out->id <= 222;
  bool nvlink = per_link || on_link || out->id == 38 || out->id == 45 || out->id == 52 || out->id == 59 || out->id == 160;
  if (nvlink && !gpu->nvlink_links) out->ret = NOT_SUPPORTED;
  if (on_link && out->scope >= gpu->nvlink_links) out->ret = INVALID_ARGUMENT;
  if (on_link && out->scope) value = 0; /* all of it on the first link */
  if (per_link && out->scope != UINT32_MAX && gpu->nvlink_links) value /= gpu->nvlink_links;
  out->type = (u32)field->type;
  out->value.ull = 0;
  if (field->type == TYPE_UINT) out->value.ui = (u32)value;
  else if (field->type == TYPE_DOUBLE) out->value.d = (double)value;
  else out->value.ull = value;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int count, FieldValue *out) {
  GPU_ONLY(handle);
  bool any = false;
  for (int i = 0; i < count; i++) {
    fill_field(index, &out[i]);
    any |= out[i].ret == OK;
  }
  return any ? OK : NOT_SUPPORTED;
}

/* ---------------------------------------------------------------- PCIe and NVLink */

nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t handle, u32 direction, u32 *out) {
  GPU_ONLY(handle);
  return direction < 2 ? put(out, direction ? gpu->pcie_rx : gpu->pcie_tx) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t handle, u32 link, u32 *active) {
  GPU_ONLY(handle);
  if (!gpu->nvlink_links) return NOT_SUPPORTED;
  return link < NVLINK_LINKS ? put(active, link < gpu->nvlink_links) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t handle, u32 link, u32 kind, u64 *out) {
  GPU_ONLY(handle);
  static const int FIELD_OF_KIND[] = {52, 59, 38, 45, 160};
  if (!gpu->nvlink_links) return NOT_SUPPORTED;
  if (link >= gpu->nvlink_links || kind >= 5) return INVALID_ARGUMENT;
  *out = link ? 0 : counter(index, FIELD_OF_KIND[kind]); /* all of it on the first link */
  return OK;
}

typedef struct { u32 version; uint8_t cluster[16]; u32 status, clique; uint8_t state; u32 health; } Fabric;

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t handle, Fabric *out) {
  GPU_ONLY(handle);
  if (out->version != 0x02000024) return ARGUMENT_VERSION_MISMATCH;
  *out = (Fabric){.version = out->version, .status = (u32)gpu->fabric_status, .state = (uint8_t)gpu->fabric_state,
                  .health = (u32)gpu->fabric_health};
  return OK;
}

/* ---------------------------------------------------------------- errors */

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t handle, u32 uncorrected, u32 aggregate, u64 *out) {
  GPU_ONLY(handle);
  if (uncorrected > 1 || aggregate > 1) return INVALID_ARGUMENT;
  *out = counter(index, 3 + (int)(uncorrected + 2 * aggregate));
  return OK;
}

nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlDevice_t handle, u32 uncorrected, u32 aggregate, u64 out[4]) {
  GPU_ONLY(handle);
  if (uncorrected > 1 || aggregate > 1) return INVALID_ARGUMENT;
  out[0] = out[1] = out[3] = 0;
  out[2] = counter(index, 3 + (int)(uncorrected + 2 * aggregate)); /* all of it in device memory */
  return OK;
}

typedef struct {
  u32 version;
  u64 parity, secded, corrected, volatile_parity, volatile_secded, volatile_corrected, l2, sm, pcie, mcu, other;
  u32 threshold;
} Sram;

nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t handle, Sram *out) {
  GPU_ONLY(handle);
  if (out->version != 0x1000068) return ARGUMENT_VERSION_MISMATCH;
  *out = (Sram){.version = out->version, .parity = gpu->sram_parity, .secded = gpu->sram_secded,
                .corrected = gpu->sram_corrected, .threshold = (u32)gpu->sram_threshold};
  return OK;
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t handle, u32 *correctable, u32 *uncorrectable, u32 *pending,
                                       u32 *failure) {
  GPU_ONLY(handle);
  put(correctable, counter(index, 142));
  put(uncorrectable, counter(index, 143));
  put(pending, counter(index, 144));
  return put(failure, counter(index, 145));
}

nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t handle, u32 cause, u32 *count, u64 *out) {
  GPU_ONLY(handle);
  const Field *field = &gpu->field[29 + (cause ? 1 : 0)];
  if (field->ret) return NOT_SUPPORTED;
  u32 size = *count, pages = (u32)field->value;
  *count = pages;
  if (size < pages || (pages && !out)) return INSUFFICIENT_SIZE;
  for (u32 i = 0; i < pages; i++) out[i] = 0x1000u * (i + 1);
  return OK;
}

nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t handle, u32 *out) {
  GPU_ONLY(handle);
  return gpu->field[31].ret ? NOT_SUPPORTED : put(out, gpu->field[31].value);
}

/* ---------------------------------------------------------------- events */

nvmlReturn_t nvmlEventSetCreate(EventSet **out) {
  CALL();
  EventSet *set = calloc(1, sizeof *set);
  for (int i = 0; i < control.events; i++) /* what happened before is not delivered */
    if (control.event[i].sequence > set->seen) set->seen = control.event[i].sequence;
  set->session = session;
  event_sets_alive++;
  *out = set;
  return OK;
}

nvmlReturn_t nvmlEventSetFree(EventSet *set) {
  LOCK();
  event_sets_alive--;
  free(set);
  return OK;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t handle, u64 *out) {
  GPU_ONLY(handle);
  *out = 0x1f;
  return OK;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t handle, u64 types, EventSet *set) {
  GPU_ONLY(handle);
  if (set->session != session) return INVALID_ARGUMENT;
  set->registered[index] = (types & 8) != 0;
  return OK;
}

typedef struct { nvmlDevice_t device; u64 type, data; u32 gi, ci; } EventData;

static nvmlReturn_t next_event(EventSet *set, EventData *out) {
  const Event *next = NULL;
  for (int i = 0; i < control.events; i++) {
    const Event *event = &control.event[i];
    if (event->sequence <= set->seen || event->gpu >= MAX_GPUS || !set->registered[event->gpu]) continue;
    if (!next || event->sequence < next->sequence) next = event;
  }
  if (next) {
    set->seen = next->sequence;
    *out = (EventData){handle_of((int)next->gpu, -1), next->type, next->xid, (u32)next->gi, UINT32_MAX};
    return OK;
  }
  for (int i = 0; i < MAX_GPUS; i++)
    if (set->registered[i] && control.gpu[i].lost) return GPU_IS_LOST;
  return TIMEOUT;
}

nvmlReturn_t nvmlEventSetWait_v2(EventSet *set, EventData *out, u32 timeout_ms) {
  CALL();
  if (set->session != session) return INVALID_ARGUMENT;
  for (u32 waited = 0;; waited += 10) {
    ret = next_event(set, out);
    if (ret != TIMEOUT || waited >= timeout_ms) return ret;
    pthread_mutex_unlock(&mutex);
    nap(0.01);
    pthread_mutex_lock(&mutex);
    refresh_control();
  }
}

/* ---------------------------------------------------------------- processes */

typedef struct { u32 pid; u64 memory; u32 gi, ci; } ProcessInfo;

static bool runs_on(const Process *process, const Mig *mig, bool graphics) {
  return process->graphics == graphics && (!mig || process->gi == mig->gi);
}

static nvmlReturn_t list_processes(const char *function, nvmlDevice_t handle, bool graphics, u32 *count,
                                   ProcessInfo *out) {
  LOCK();
  nvmlReturn_t ret = begin_device(function, handle);
  if (ret) return ret;
  const Gpu *gpu = &control.gpu[gpu_of(handle)];
  const Mig *mig = mig_of(handle) < 0 ? NULL : &gpu->migs[mig_of(handle)];
  u32 size = *count, needed = 0;
  for (int i = 0; i < gpu->processes; i++) needed += runs_on(&gpu->process[i], mig, graphics);
  if (out) needed += (u32)gpu->process_growth; /* processes that started since the size call */
  *count = needed;
  if (needed > size || (needed && !out)) return INSUFFICIENT_SIZE;
  u32 n = 0;
  for (int i = 0; i < gpu->processes; i++) {
    const Process *p = &gpu->process[i];
    if (runs_on(p, mig, graphics)) out[n++] = (ProcessInfo){p->pid, p->memory, p->gi, p->ci};
  }
  while (n < needed) out[n] = (ProcessInfo){900000 + n, 1048576, UINT32_MAX, UINT32_MAX}, n++;
  return OK;
}

#define PROCESS_LIST(function, graphics)                                                                   \
  nvmlReturn_t function(nvmlDevice_t handle, u32 *count, ProcessInfo *out) {                               \
    return list_processes(__func__, handle, graphics, count, out);                                         \
  }
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v2, false)
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v3, false)
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, true)
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, true)

typedef struct { u32 pid; u64 time; u32 sm, mem, enc, dec; } ProcessSample;

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t handle, ProcessSample *out, u32 *count, u64 seen) {
  GPU_ONLY(handle);
  if (gpu->mig) return NOT_SUPPORTED;
  u64 last = (u64)(now() * 1e6) / gpu->sample_period * gpu->sample_period;
  u32 size = *count;
  *count = (u32)gpu->processes;
  if (!gpu->processes || last <= seen) return NOT_FOUND;
  if (!out || size < *count) return INSUFFICIENT_SIZE;
  for (u32 i = 0; i < *count; i++) {
    const Process *p = &gpu->process[i];
    out[i] = (ProcessSample){p->pid, last, p->sm, p->mem, p->enc, p->dec};
  }
  return OK;
}

/* ---------------------------------------------------------------- MIG */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t handle, u32 *current, u32 *pending) {
  GPU_ONLY(handle);
  put(current, gpu->mig);
  return put(pending, gpu->mig);
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t handle, u32 *out) {
  GPU_ONLY(handle);
  return put(out, MAX_MIG);
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t handle, u32 mig_index, nvmlDevice_t *out) {
  GPU_ONLY(handle);
  if (!gpu->mig || mig_index >= gpu->mig_count) return NOT_FOUND;
  *out = handle_of(index, (int)mig_index);
  return OK;
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t handle, nvmlDevice_t *out) {
  ANY_DEVICE(handle);
  *out = handle_of(index, -1);
  return OK;
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t handle, u32 *out) {
  ANY_DEVICE(handle);
  return put(out, mig != NULL);
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t handle, u32 *out) {
  ANY_DEVICE(handle);
  return mig ? put(out, mig->gi) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t handle, u32 *out) {
  ANY_DEVICE(handle);
  return mig ? put(out, mig->ci) : INVALID_ARGUMENT;
}

typedef struct {
  u32 multiprocessors, copy_engines, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices;
  u64 memory_mib;
} Attributes;

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t handle, Attributes *out) {
  ANY_DEVICE(handle);
  if (!mig) return NOT_SUPPORTED;
  u32 slices = (u32)mig->slices;
  *out = (Attributes){.multiprocessors = (u32)mig->multiprocessors, .copy_engines = slices, .gpu_slices = slices,
                      .compute_slices = slices, .memory_mib = mig->memory_total >> 20};
  return OK;
}

/* ---------------------------------------------------------------- GPM */

typedef struct { u32 version, supported; } GpmSupport;

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t handle, GpmSupport *out) {
  GPU_ONLY(handle);
  if (out->version != 1) return ARGUMENT_VERSION_MISMATCH;
  return put(&out->supported, gpu->gpm_supported);
}

nvmlReturn_t nvmlGpmSampleAlloc(GpmSample **out) {
  CALL();
  *out = calloc(1, sizeof **out);
  gpm_samples_alive++;
  return OK;
}

nvmlReturn_t nvmlGpmSampleFree(GpmSample *sample) {
  LOCK();
  gpm_samples_alive--;
  free(sample);
  return OK;
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t handle, GpmSample *sample) {
  GPU_ONLY(handle);
  if (!gpu->gpm_supported) return NOT_SUPPORTED;
  *sample = (GpmSample){index, UINT64_MAX, now()};
  return OK;
}

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t handle, u32 gi, GpmSample *sample) {
  GPU_ONLY(handle);
  if (!gpu->gpm_supported) return NOT_SUPPORTED;
  for (u64 i = 0; gpu->mig && i < gpu->mig_count; i++)
    if (gpu->migs[i].gi == gi) return *sample = (GpmSample){index, gi, now()}, OK;
  return INVALID_ARGUMENT;
}

typedef struct { u32 id, ret; double value; struct { const char *shortName, *longName, *unit; } info; } GpmMetric;
typedef struct { u32 version, count; GpmSample *first, *second; GpmMetric metric[]; } GpmMetrics;

static const Mig *instance(const Gpu *gpu, u64 gi) {
  for (u64 i = 0; i < gpu->mig_count; i++)
    if (gpu->migs[i].gi == gi) return &gpu->migs[i];
  return NULL;
}

/* What no line sets follows from the load: SMs are busy when the GPU is, half of the warps, 40 % tensor. */
static nvmlReturn_t derived(u32 id, double load, double memory, const Gpu *gpu, double *value) {
  const double MIB = 1048576.0;
  switch (id) {
    case 1: case 2: return *value = load, OK;
    case 3: return *value = 0.5 * load, OK;
    case 5: return *value = 0.4 * load, OK;
    case 10: return *value = memory, OK;
    case 20: return *value = (double)gpu->pcie_tx * 1000 / MIB, OK;
    case 21: return *value = (double)gpu->pcie_rx * 1000 / MIB, OK;
    case 60: return *value = gpu->field[139].rate / 1024, OK;
    case 61: return *value = gpu->field[138].rate / 1024, OK;
    default: return NOT_SUPPORTED;
  }
}

static void fill_gpm(const GpmSample *from, const GpmSample *to, GpmMetric *out) {
  const Gpu *gpu = &control.gpu[from->gpu];
  const Mig *mig = instance(gpu, from->gi);
  const Gpm *table = mig ? mig->gpm : gpu->gpm, none = {0, OK, false};
  const Gpm *entry = out->id < MAX_GPM ? &table[out->id] : &none;
  double load = mig ? (double)mig->utilization : mean_load(from->gpu, false, from->time, to->time);
  double memory = mig ? (double)mig->utilization / 2 : mean_load(from->gpu, true, from->time, to->time);
  memset(&out->info, 0, sizeof out->info);
  if (to->time - from->time < 0.1) out->ret = NO_DATA;
  else if (entry->ret) out->ret = (u32)entry->ret;
  else if (entry->set) out->value = entry->value, out->ret = OK;
  else out->ret = (u32)derived(out->id, load, memory, gpu, &out->value);
}

nvmlReturn_t nvmlGpmMetricsGet(GpmMetrics *request) {
  CALL();
  if (request->version != 1) return ARGUMENT_VERSION_MISMATCH;
  const GpmSample *from = request->first, *to = request->second;
  if (!from || !to || !from->time || to->time <= from->time || from->gpu != to->gpu || from->gi != to->gi)
    return INVALID_ARGUMENT;
  if (control.gpu[from->gpu].lost) return GPU_IS_LOST;
  for (u32 i = 0; i < request->count; i++) fill_gpm(from, to, &request->metric[i]);
  return OK;
}
