/*
 * HTTP/1.1 load on one port: one epoll loop, keep-alive connections, one request at a time on each.
 *
 * usage: load key=value ...
 *   port=N path=P body=FILE   what is sent, always POST
 *   connections=N             how many at once
 *   seconds=S                 measured time
 *   skip=S                    warm-up before it, not counted
 *   ramp=S                    spreads the first requests of the connections over this time
 *   rate=N                    requests a second for all connections together; 0: as fast as answers come
 *   hold=1                    one request on each connection, then stays until stdin closes or the time is over
 *   pids=N,N                  processes whose CPU time is read at the begin and the end of the measured time
 *
 * Prints {"ready":N} once every stream is open (hold only), and one line of JSON at the end.
 */
#define _GNU_SOURCE
#include "common.h"
#include <dirent.h>

#define HEADER_BYTES 4096
#define LINE_BYTES 1024

typedef enum { IN_HEADER, IN_BODY, IN_CHUNK_SIZE, IN_CHUNK, AFTER_CHUNK, AFTER_LAST_CHUNK } Stage;

typedef struct Connection {
  int fd;
  Stage stage;
  char header[HEADER_BYTES];
  int header_length;
  long left;
  int in_extension;
  int is_stream;
  int got_first;
  int saw_done;
  int writable_wanted;
  uint64_t started;
  size_t sent;
  char line[LINE_BYTES];
  int line_length;
  long events;
  struct Connection *next_idle;
} Connection;

typedef struct {
  uint32_t *values;
  size_t count, capacity;
} Samples;

static int epoll, port, connection_count = 1, hold, opened, opening;
static double seconds = 1, skip, ramp, rate;
static const char *path = "/", *body_file, *pids = "";
static char *request;
static size_t request_length;
static long requests, errors, events, body_bytes, unfinished;
static Samples first_byte, latency, event_delay;
static Connection *connections, *idle;

static void add_sample(Samples *samples, uint64_t ns) {
  if (samples->count == samples->capacity) {
    if (samples->capacity >= 8000000) return;
    samples->capacity = samples->capacity == 0 ? 65536 : samples->capacity * 2;
    samples->values = realloc(samples->values, samples->capacity * sizeof *samples->values);
    if (samples->values == NULL) fail("realloc");
  }
  uint64_t tenths = ns / 100;
  samples->values[samples->count++] = tenths > UINT32_MAX ? UINT32_MAX : (uint32_t)tenths;
}

static int ascending(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return a < b ? -1 : a > b;
}

static void print_samples(const char *name, Samples *samples) {
  if (samples->count == 0) {
    printf(",\"%s\":null", name);
    return;
  }
  qsort(samples->values, samples->count, sizeof *samples->values, ascending);
  const uint32_t *values = samples->values;
  size_t count = samples->count;
  printf(",\"%s\":{\"count\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", name, count,
         values[count / 2] / 10.0, values[count * 9 / 10] / 10.0, values[count * 99 / 100] / 10.0,
         values[count * 999 / 1000] / 10.0, values[count - 1] / 10.0);
}

/* CPU time of all threads of the processes, in nanoseconds, as the scheduler counts it. */
static uint64_t cpu_ns(void) {
  uint64_t total = 0;
  for (const char *at = pids; *at != 0;) {
    long pid = strtol(at, (char **)&at, 10);
    if (*at == ',') at += 1;
    char name[300];
    sprintf(name, "/proc/%ld/task", pid);
    DIR *tasks = opendir(name);
    if (tasks == NULL) continue;
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
      if (entry->d_name[0] == '.') continue;
      sprintf(name, "/proc/%ld/task/%.32s/schedstat", pid, entry->d_name);
      FILE *file = fopen(name, "r");
      unsigned long long ns = 0;
      if (file == NULL) continue;
      if (fscanf(file, "%llu", &ns) == 1) total += ns;
      fclose(file);
    }
    closedir(tasks);
  }
  return total;
}

static void want_writable(Connection *connection, int wanted) {
  if (connection->writable_wanted == wanted) return;
  connection->writable_wanted = wanted;
  watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN | (wanted ? EPOLLOUT : 0), connection);
}

static void send_request(Connection *connection) {
  while (connection->sent < request_length) {
    ssize_t sent = send(connection->fd, request + connection->sent, request_length - connection->sent, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN || errno == ENOTCONN) want_writable(connection, 1);
      return;
    }
    connection->sent += (size_t)sent;
  }
  want_writable(connection, 0);
}

static void start_request(Connection *connection) {
  connection->stage = IN_HEADER;
  connection->header_length = 0;
  connection->line_length = 0;
  connection->got_first = 0;
  connection->saw_done = 0;
  connection->sent = 0;
  connection->started = now_ns();
  send_request(connection);
}

static void be_idle(Connection *connection) {
  connection->next_idle = idle;
  idle = connection;
}

static void open_connection(Connection *connection) {
  connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connection->fd < 0) fail("socket");
  no_delay(connection->fd);
  struct sockaddr_in address = loopback(port);
  connect(connection->fd, (struct sockaddr *)&address, sizeof address);
  connection->writable_wanted = 0;
  watch(epoll, EPOLL_CTL_ADD, connection->fd, EPOLLIN, connection);
}

static void go_on(Connection *connection) {
  if (rate > 0) be_idle(connection);
  else start_request(connection);
}

static void reopen(Connection *connection) {
  errors += 1;
  if (hold && !connection->got_first) opening -= 1;
  close(connection->fd);
  if (errors > 1000 || hold) return;
  open_connection(connection);
  go_on(connection);
}

static void finish_request(Connection *connection) {
  requests += 1;
  if (connection->is_stream && !connection->saw_done) unfinished += 1;
  add_sample(&latency, now_ns() - connection->started);
  if (!hold) go_on(connection);
}

static void take_line(Connection *connection, uint64_t *arrival) {
  if (connection->line_length < 7 || memcmp(connection->line, "data: ", 6) != 0) return;
  if (connection->line[6] == '[') {
    connection->saw_done = 1;
    return;
  }
  events += 1;
  connection->events += 1;
  connection->line[connection->line_length] = 0;
  const char *stamp = strstr(connection->line, "\"fp_");
  if (stamp == NULL) return;
  if (*arrival == 0) *arrival = now_ns();
  uint64_t made = strtoull(stamp + 4, NULL, 16);
  add_sample(&event_delay, *arrival > made ? *arrival - made : 0);
}

static void take_payload(Connection *connection, const char *bytes, long length) {
  if (length == 0) return;
  body_bytes += length;
  if (!connection->got_first) {
    connection->got_first = 1;
    add_sample(&first_byte, now_ns() - connection->started);
    if (hold) opening -= 1;
  }
  if (!connection->is_stream) return;
  uint64_t arrival = 0;
  while (length > 0) {
    const char *newline = memchr(bytes, '\n', (size_t)length);
    long count = newline == NULL ? length : newline - bytes + 1;
    if (connection->line_length + count < LINE_BYTES) {
      memcpy(connection->line + connection->line_length, bytes, (size_t)count);
      connection->line_length += (int)count;
    }
    bytes += count;
    length -= count;
    if (newline == NULL) continue;
    take_line(connection, &arrival);
    connection->line_length = 0;
  }
}

static int begin_answer(Connection *connection) {
  const char *header = connection->header;
  if (strncmp(header, "HTTP/1.1 200 ", 13) != 0) {
    if (errors < 3) fprintf(stderr, "load: %.300s\n", header);
    return -1;
  }
  connection->is_stream = strcasestr(header, "text/event-stream") != NULL;
  connection->left = 0;
  connection->in_extension = 0;
  const char *content_length = strcasestr(header, "\r\ncontent-length:");
  if (content_length != NULL) {
    connection->left = atol(content_length + 17);
    connection->stage = IN_BODY;
    if (connection->left == 0) finish_request(connection);
    return 0;
  }
  connection->stage = IN_CHUNK_SIZE;
  return strcasestr(header, "\r\ntransfer-encoding: chunked") == NULL ? -1 : 0;
}

static int take_header(Connection *connection, const char *bytes, long length) {
  int before = connection->header_length;
  long count = HEADER_BYTES - 1 - before;
  if (count > length) count = length;
  if (count == 0) return -1;
  memcpy(connection->header + before, bytes, (size_t)count);
  connection->header_length += (int)count;
  connection->header[connection->header_length] = 0;
  char *end = strstr(connection->header + (before > 3 ? before - 3 : 0), "\r\n\r\n");
  if (end == NULL) return (int)count;
  int used = (int)(end + 4 - connection->header) - before;
  end[2] = 0;
  return begin_answer(connection) < 0 ? -1 : used;
}

/* Returns -1 when the answer is not what it should be. */
static int take(Connection *connection, const char *bytes, long length) {
  while (length > 0) {
    long used = 1;
    char byte = *bytes;
    switch (connection->stage) {
      case IN_HEADER:
        used = take_header(connection, bytes, length);
        if (used < 0) return -1;
        break;
      case IN_BODY:
      case IN_CHUNK:
        used = length < connection->left ? length : connection->left;
        take_payload(connection, bytes, used);
        connection->left -= used;
        if (connection->left > 0) break;
        if (connection->stage == IN_BODY) finish_request(connection);
        else connection->stage = AFTER_CHUNK;
        break;
      case IN_CHUNK_SIZE:
        if (byte == ';') connection->in_extension = 1;
        if (byte == '\n') {
          connection->in_extension = 0;
          connection->stage = connection->left > 0 ? IN_CHUNK : AFTER_LAST_CHUNK;
        } else if (byte != '\r' && !connection->in_extension) {
          int digit = byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10;
          connection->left = connection->left * 16 + digit;
        }
        break;
      case AFTER_CHUNK:
        if (byte == '\n') connection->stage = IN_CHUNK_SIZE;
        break;
      case AFTER_LAST_CHUNK:
        if (byte == '\n') finish_request(connection);
        break;
    }
    bytes += used;
    length -= used;
  }
  return 0;
}

static const char *value_of(const char *argument, const char *name) {
  size_t length = strlen(name);
  return !strncmp(argument, name, length) && argument[length] == '=' ? argument + length + 1 : NULL;
}

static void read_argument(const char *argument) {
  const char *value;
  if ((value = value_of(argument, "port"))) port = atoi(value);
  else if ((value = value_of(argument, "path"))) path = value;
  else if ((value = value_of(argument, "body"))) body_file = value;
  else if ((value = value_of(argument, "connections"))) connection_count = atoi(value);
  else if ((value = value_of(argument, "seconds"))) seconds = atof(value);
  else if ((value = value_of(argument, "skip"))) skip = atof(value);
  else if ((value = value_of(argument, "ramp"))) ramp = atof(value);
  else if ((value = value_of(argument, "rate"))) rate = atof(value);
  else if ((value = value_of(argument, "hold"))) hold = atoi(value);
  else if ((value = value_of(argument, "pids"))) pids = value;
  else {
    fprintf(stderr, "load: unknown argument %s\n", argument);
    exit(2);
  }
}

static void prepare_request(void) {
  FILE *file = fopen(body_file, "rb");
  if (file == NULL) fail(body_file);
  fseek(file, 0, SEEK_END);
  long length = ftell(file);
  rewind(file);
  request = malloc((size_t)length + 1024);
  if (request == NULL) fail("malloc");
  int header = sprintf(request,
                       "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nuser-agent: bench\r\naccept: */*\r\n"
                       "authorization: Bearer sk-bench-0123456789\r\ncontent-type: application/json\r\n"
                       "content-length: %ld\r\n\r\n",
                       path, port, length);
  if (fread(request + header, 1, (size_t)length, file) != (size_t)length) fail("read");
  fclose(file);
  request_length = (size_t)header + (size_t)length;
}

static void forget_warm_up(void) {
  requests = errors = events = body_bytes = unfinished = 0;
  first_byte.count = latency.count = event_delay.count = 0;
  for (int index = 0; index < opened; index += 1) connections[index].events = 0;
}

static void print_result(double measured, uint64_t cpu) {
  long fewest = -1, most = 0;
  for (int index = 0; index < opened; index += 1) {
    long count = connections[index].events;
    if (fewest < 0 || count < fewest) fewest = count;
    if (count > most) most = count;
  }
  printf("{\"requests\":%ld,\"errors\":%ld,\"unfinished\":%ld,\"events\":%ld,\"bodyBytes\":%ld,\"seconds\":%.4f,"
         "\"cpuNs\":%llu,\"fewestEvents\":%ld,\"mostEvents\":%ld",
         requests, errors, unfinished, events, body_bytes, measured, (unsigned long long)cpu, fewest < 0 ? 0 : fewest, most);
  print_samples("firstByteUs", &first_byte);
  print_samples("latencyUs", &latency);
  print_samples("eventDelayUs", &event_delay);
  printf("}\n");
}

int main(int argument_count, char **arguments) {
  for (int index = 1; index < argument_count; index += 1) read_argument(arguments[index]);
  prepare_process((unsigned)(skip + seconds) + 30);
  prepare_request();
  connections = calloc((size_t)connection_count, sizeof *connections);
  if (connections == NULL) fail("calloc");
  epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, 0, EPOLLIN, NULL);

  static char buffer[1 << 18];
  struct epoll_event ready[512];
  uint64_t begin = now_ns(), mark = skip > 0 ? 0 : begin, cpu = mark ? cpu_ns() : 0;
  uint64_t end = begin + (uint64_t)((skip + seconds) * 1e9);
  double next_start = 0;
  int told = 0;
  while (!stopped && errors <= 1000) {
    uint64_t now = now_ns();
    if (now >= end) break;
    double elapsed = (double)(now - begin) / 1e9;
    if (mark == 0 && elapsed >= skip) {
      forget_warm_up();
      cpu = cpu_ns();
      mark = now_ns();
    }
    while (opened < connection_count && (!hold || opening < 32) && elapsed >= ramp * opened / connection_count) {
      Connection *connection = &connections[opened++];
      if (hold) opening += 1;
      open_connection(connection);
      go_on(connection);
    }
    while (rate > 0 && idle != NULL && next_start <= elapsed) {
      Connection *connection = idle;
      idle = connection->next_idle;
      next_start += 1 / rate;
      start_request(connection);
    }
    if (hold && !told && opened == connection_count && opening == 0) {
      told = 1;
      printf("{\"ready\":%d}\n", opened - (int)errors);
      fflush(stdout);
    }
    int timeout_ms = (int)((end - now) / 1000000) + 1;
    if (timeout_ms > 100) timeout_ms = 100;
    if ((rate > 0 && idle != NULL) || mark == 0 || (ramp > 0 && opened < connection_count)) timeout_ms = 1;
    int count = epoll_wait(epoll, ready, 512, timeout_ms);
    for (int index = 0; index < count; index += 1) {
      Connection *connection = ready[index].data.ptr;
      if (connection == NULL) {
        if (read(0, buffer, sizeof buffer) <= 0) stopped = 1;
        continue;
      }
      if (ready[index].events & EPOLLOUT) send_request(connection);
      if (!(ready[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
      ssize_t length = recv(connection->fd, buffer, sizeof buffer, 0);
      if (length < 0 && errno == EAGAIN) continue;
      if (length <= 0 || take(connection, buffer, length) < 0) reopen(connection);
    }
  }
  uint64_t finished = now_ns();
  uint64_t cpu_at_end = cpu_ns();
  print_result((double)(finished - (mark ? mark : begin)) / 1e9, cpu_at_end - cpu);
  return 0;
}
