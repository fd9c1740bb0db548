/*
 * A vLLM engine that costs next to nothing: one epoll loop, answers from constants.
 *
 * usage: engine LIFETIME_S
 *
 * Prints the ports it listens on as a line of JSON: one for prefill, one for decode, and one for requests that come
 * without a prefill (the same as decode, but counted apart). Prefill answers with the kv_transfer_params of NIXL.
 * Decode answers as the `user` field of the request says, "key=value,...":
 *   events=N  events of content in a stream
 *   delay=N   microseconds between two; 0: one send() each, without a pause; -1: all in one send()
 * A stream without content-type checks: "stream":true must stand within the first kilobyte of the body.
 * Also answers /health, /version, /v1/models and /metrics, and /counters for the benchmark itself.
 */
#define _GNU_SOURCE
#include "common.h"

#define HEADER_BYTES 4096
#define EDGE_BYTES 1024
#define EVENT_BYTES 512

typedef enum { PREFILL, DECODE, DIRECT } Role;

typedef struct {
  int fd;
  Role role;
} Listener;

typedef struct {
  int fd;
  Role role;
  int dead;
  int streaming;
  int scheduled;
  int writable_wanted;
  char header[HEADER_BYTES];
  int header_length;
  long body_length;
  long body_read;
  char head[EDGE_BYTES + 1];
  char tail[EDGE_BYTES];
  int head_length;
  int tail_length;
  char *pending;
  size_t pending_start, pending_end, pending_capacity;
  long events_left;
  uint64_t delay_ns;
  uint64_t due;
} Connection;

static int epoll;
static Listener listeners[3];
static long prefills, decodes, handed_over, direct, streams_cut;
static char prefill_answer[2048], decode_answer[2048];
static int prefill_answer_length, decode_answer_length;

static const char stream_header[] =
    "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    "transfer-encoding: chunked\r\n\r\n";
static const char stream_end[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/* A heap of streams, the one whose next event is due first on top. */
static Connection **heap;
static int heap_size, heap_capacity;

static void heap_push(Connection *connection) {
  if (heap_size == heap_capacity) {
    heap_capacity = heap_capacity == 0 ? 1024 : heap_capacity * 2;
    heap = realloc(heap, (size_t)heap_capacity * sizeof *heap);
    if (heap == NULL) fail("realloc");
  }
  int hole = heap_size++;
  while (hole > 0 && heap[(hole - 1) / 2]->due > connection->due) {
    heap[hole] = heap[(hole - 1) / 2];
    hole = (hole - 1) / 2;
  }
  heap[hole] = connection;
  connection->scheduled = 1;
}

static Connection *heap_pop(void) {
  Connection *top = heap[0];
  Connection *last = heap[--heap_size];
  int hole = 0;
  for (;;) {
    int child = hole * 2 + 1;
    if (child >= heap_size) break;
    if (child + 1 < heap_size && heap[child + 1]->due < heap[child]->due) child += 1;
    if (heap[child]->due >= last->due) break;
    heap[hole] = heap[child];
    hole = child;
  }
  if (heap_size > 0) heap[hole] = last;
  top->scheduled = 0;
  return top;
}

static void release(Connection *connection) {
  free(connection->pending);
  free(connection);
}

static void close_connection(Connection *connection) {
  if (connection->streaming) streams_cut += 1;
  connection->streaming = 0;
  close(connection->fd);
  connection->dead = 1;
  if (!connection->scheduled) release(connection);
}

static void want_writable(Connection *connection, int wanted) {
  if (connection->writable_wanted == wanted) return;
  connection->writable_wanted = wanted;
  watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN | (wanted ? EPOLLOUT : 0), connection);
}

static void send_bytes(Connection *connection, const char *bytes, size_t length) {
  if (connection->pending_start == connection->pending_end) {
    connection->pending_start = connection->pending_end = 0;
    ssize_t sent = send(connection->fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) return;
      sent = 0;
    }
    bytes += sent;
    length -= (size_t)sent;
    if (length == 0) return;
  }
  if (connection->pending_end + length > connection->pending_capacity) {
    connection->pending_capacity = (connection->pending_end + length) * 2;
    connection->pending = realloc(connection->pending, connection->pending_capacity);
    if (connection->pending == NULL) fail("realloc");
  }
  memcpy(connection->pending + connection->pending_end, bytes, length);
  connection->pending_end += length;
  want_writable(connection, 1);
}

static void send_pending(Connection *connection) {
  size_t length = connection->pending_end - connection->pending_start;
  ssize_t sent = send(connection->fd, connection->pending + connection->pending_start, length, MSG_NOSIGNAL);
  if (sent > 0) connection->pending_start += (size_t)sent;
  if (connection->pending_start < connection->pending_end) return;
  connection->pending_start = connection->pending_end = 0;
  want_writable(connection, 0);
}

static int put_chunk(char *out, const char *bytes, int length) {
  int start = sprintf(out, "%x\r\n", length);
  memcpy(out + start, bytes, (size_t)length);
  memcpy(out + start + length, "\r\n", 2);
  return start + length + 2;
}

/* About 250 bytes, the time it was made in `system_fingerprint`. */
static int put_event(char *out, const char *delta, const char *finish_reason) {
  char event[EVENT_BYTES];
  int length = sprintf(event,
                       "data: {\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\","
                       "\"created\":1700000000,\"model\":\"bench-model\",\"system_fingerprint\":\"fp_%016llx\","
                       "\"choices\":[{\"index\":0,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":%s}]}\n\n",
                       (unsigned long long)now_ns(), delta, finish_reason);
  return put_chunk(out, event, length);
}

static int put_content(char *out, int is_last) {
  return put_event(out, "\"content\":\" wonderful\"", is_last ? "\"length\"" : "null");
}

static long field(const Connection *connection, const char *name, long otherwise) {
  const char *found = strstr(connection->head, name);
  return found == NULL ? otherwise : atol(found + strlen(name));
}

static void finish_stream(Connection *connection) {
  connection->streaming = 0;
  send_bytes(connection, stream_end, sizeof stream_end - 1);
}

static void start_stream(Connection *connection) {
  long events = field(connection, "events=", 64);
  long delay_us = field(connection, "delay=", 0);
  /* As vLLM: the chunk with the role and the first token come from the same step. */
  char first[sizeof stream_header + 2 * EVENT_BYTES];
  int length = sizeof stream_header - 1;
  memcpy(first, stream_header, sizeof stream_header - 1);
  length += put_event(first + length, "\"role\":\"assistant\",\"content\":\"\"", "null");
  length += put_content(first + length, events == 1);
  if (delay_us < 0) {
    char *all = malloc((size_t)length + (size_t)events * EVENT_BYTES + sizeof stream_end);
    if (all == NULL) fail("malloc");
    memcpy(all, first, (size_t)length);
    for (long left = events - 1; left > 0; left -= 1) length += put_content(all + length, left == 1);
    memcpy(all + length, stream_end, sizeof stream_end - 1);
    send_bytes(connection, all, (size_t)length + sizeof stream_end - 1);
    free(all);
    return;
  }
  send_bytes(connection, first, (size_t)length);
  connection->events_left = events - 1;
  if (delay_us == 0 || events == 1) {
    while (connection->events_left > 0) {
      length = put_content(first, --connection->events_left == 0);
      send_bytes(connection, first, (size_t)length);
    }
    finish_stream(connection);
    return;
  }
  connection->streaming = 1;
  connection->delay_ns = (uint64_t)delay_us * 1000ull;
  connection->due = now_ns() + connection->delay_ns;
  heap_push(connection);
}

static void send_due_events(void) {
  uint64_t now = now_ns();
  while (heap_size > 0 && heap[0]->due <= now) {
    Connection *connection = heap_pop();
    if (connection->dead) {
      release(connection);
      continue;
    }
    if (!connection->streaming) continue;
    char event[EVENT_BYTES + 16];
    int length = put_content(event, --connection->events_left == 0);
    send_bytes(connection, event, (size_t)length);
    if (connection->events_left == 0) {
      finish_stream(connection);
    } else {
      connection->due += connection->delay_ns;
      heap_push(connection);
    }
  }
}

static void respond(Connection *connection, const char *type, const char *body) {
  char out[2048];
  int length = sprintf(out, "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %zu\r\n\r\n%s", type, strlen(body), body);
  send_bytes(connection, out, (size_t)length);
}

static void answer_get(Connection *connection) {
  char counters[200];
  if (strstr(connection->header, "/health ") != NULL) {
    respond(connection, "text/plain", "");
  } else if (strstr(connection->header, "/version ") != NULL) {
    respond(connection, "application/json", "{\"version\":\"0.14.0\"}");
  } else if (strstr(connection->header, "/models ") != NULL) {
    respond(connection, "application/json",
            "{\"object\":\"list\",\"data\":[{\"id\":\"bench-model\",\"object\":\"model\",\"created\":1700000000,"
            "\"owned_by\":\"vllm\",\"root\":\"bench-model\",\"parent\":null,\"max_model_len\":8388608,\"permission\":[]}]}");
  } else if (strstr(connection->header, "/metrics ") != NULL) {
    respond(connection, "text/plain; version=0.0.4; charset=utf-8",
            "# TYPE vllm:num_requests_running gauge\n"
            "vllm:num_requests_running{engine=\"0\",model_name=\"bench-model\"} 0.0\n"
            "# TYPE vllm:num_requests_waiting gauge\n"
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"bench-model\"} 0.0\n"
            "# TYPE vllm:kv_cache_usage_perc gauge\n"
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"bench-model\"} 0.0\n");
  } else if (strstr(connection->header, "/counters ") != NULL) {
    sprintf(counters, "{\"prefills\":%ld,\"decodes\":%ld,\"handedOver\":%ld,\"direct\":%ld,\"streamsCut\":%ld}",
            prefills, decodes, handed_over, direct, streams_cut);
    respond(connection, "application/json", counters);
  } else {
    static const char missing[] = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    send_bytes(connection, missing, sizeof missing - 1);
  }
}

static int contains(const char *bytes, int length, const char *text) {
  return memmem(bytes, (size_t)length, text, strlen(text)) != NULL;
}

static void answer(Connection *connection) {
  connection->head[connection->head_length] = 0;
  if (!strncmp(connection->header, "GET ", 4)) {
    answer_get(connection);
  } else if (connection->role == PREFILL) {
    prefills += 1;
    send_bytes(connection, prefill_answer, (size_t)prefill_answer_length);
  } else {
    if (connection->role == DIRECT) direct += 1;
    else decodes += 1;
    if (contains(connection->tail, connection->tail_length, "\"do_remote_prefill\":true")) handed_over += 1;
    if (strstr(connection->head, "\"stream\":true") != NULL) start_stream(connection);
    else send_bytes(connection, decode_answer, (size_t)decode_answer_length);
  }
}

static long min_long(long a, long b) { return a < b ? a : b; }

/* Keeps only the first and the last kilobyte of a body. */
static void take_body(Connection *connection, const char *bytes, long length) {
  long for_head = min_long(length, EDGE_BYTES - connection->head_length);
  if (for_head > 0) {
    memcpy(connection->head + connection->head_length, bytes, (size_t)for_head);
    connection->head_length += (int)for_head;
  }
  long tail_start = connection->body_length - EDGE_BYTES;
  long skip = tail_start - connection->body_read;
  if (skip < 0) skip = 0;
  if (skip < length) {
    memcpy(connection->tail + connection->tail_length, bytes + skip, (size_t)(length - skip));
    connection->tail_length += (int)(length - skip);
  }
  connection->body_read += length;
}

static void begin_message(Connection *connection) {
  connection->header_length = 0;
  connection->body_length = -1;
  connection->body_read = 0;
  connection->head_length = 0;
  connection->tail_length = 0;
}

/* Returns -1 for what is not understood. */
static int take(Connection *connection, const char *bytes, long length) {
  while (length > 0) {
    if (connection->body_length < 0) {
      int space = HEADER_BYTES - 1 - connection->header_length;
      int count = (int)min_long(length, space);
      if (count == 0) return -1;
      int before = connection->header_length;
      memcpy(connection->header + before, bytes, (size_t)count);
      connection->header_length += count;
      connection->header[connection->header_length] = 0;
      char *end = strstr(connection->header + (before > 3 ? before - 3 : 0), "\r\n\r\n");
      if (end == NULL) {
        bytes += count;
        length -= count;
        continue;
      }
      int used = (int)(end + 4 - connection->header) - before;
      bytes += used;
      length -= used;
      end[2] = 0;
      if (strcasestr(connection->header, "\r\ntransfer-encoding:") != NULL) return -1;
      char *content_length = strcasestr(connection->header, "\r\ncontent-length:");
      connection->body_length = content_length == NULL ? 0 : atol(content_length + 17);
    } else {
      long count = min_long(length, connection->body_length - connection->body_read);
      take_body(connection, bytes, count);
      bytes += count;
      length -= count;
    }
    if (connection->body_read == connection->body_length) {
      answer(connection);
      begin_message(connection);
    }
  }
  return 0;
}

static void accept_all(Listener *listener) {
  for (int count = 0; count < 64; count += 1) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    no_delay(fd);
    Connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) fail("calloc");
    connection->fd = fd;
    connection->role = listener->role;
    begin_message(connection);
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
  }
}

static int open_listener(Listener *listener, Role role) {
  listener->role = role;
  listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (listener->fd < 0 || bind(listener->fd, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
  if (listen(listener->fd, 4096) != 0) fail("listen");
  getsockname(listener->fd, (struct sockaddr *)&address, &size);
  watch(epoll, EPOLL_CTL_ADD, listener->fd, EPOLLIN, listener);
  return ntohs(address.sin_port);
}

static int put_answer(char *out, const char *body) {
  return sprintf(out, "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                 strlen(body), body);
}

static void prepare_answers(void) {
  prefill_answer_length = put_answer(
      prefill_answer,
      "{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1700000000,"
      "\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A\"},"
      "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":250,\"completion_tokens\":1,\"total_tokens\":251},"
      "\"kv_transfer_params\":{\"do_remote_prefill\":true,\"do_remote_decode\":false,\"remote_block_ids\":[[1,2,3,4,5,6,7,"
      "8,9,10,11,12,13,14,15,16]],\"remote_engine_id\":\"a1b2c3d4-e5f6-7890-abcd-ef0123456789\",\"remote_request_id\":"
      "\"chatcmpl-0123456789abcdef0123456789abcdef\",\"remote_host\":\"127.0.0.1\",\"remote_port\":5600,\"tp_size\":1,"
      "\"remote_num_tokens\":250}}");
  decode_answer_length = put_answer(
      decode_answer,
      "{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1700000000,"
      "\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The quick brown fox "
      "jumps over the lazy dog, and over the next one, and goes on to do so for as long as there are dogs in its way and "
      "tokens left in what it was granted, which is sixty-four of them, or about as many words as this sentence has.\","
      "\"tool_calls\":[]},\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null}],\"usage\":{\"prompt_tokens\":250,"
      "\"total_tokens\":314,\"completion_tokens\":64}}");
}

int main(int argument_count, char **arguments) {
  prepare_process(argument_count > 1 ? (unsigned)atoi(arguments[1]) : 60);
  prepare_answers();
  epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, 0, EPOLLIN, NULL);
  int ports[3];
  for (Role role = PREFILL; role <= DIRECT; role += 1) ports[role] = open_listener(&listeners[role], role);
  printf("{\"prefillPort\":%d,\"decodePort\":%d,\"directPort\":%d}\n", ports[PREFILL], ports[DECODE], ports[DIRECT]);
  fflush(stdout);
  static char buffer[1 << 18];
  struct epoll_event events[512];
  while (!stopped) {
    int timeout_ms = 1000;
    if (heap_size > 0) {
      uint64_t now = now_ns();
      timeout_ms = heap[0]->due <= now ? 0 : (int)min_long((long)((heap[0]->due - now) / 1000000) + 1, 1000);
    }
    int count = epoll_wait(epoll, events, 512, timeout_ms);
    for (int index = 0; index < count; index += 1) {
      void *owner = events[index].data.ptr;
      if (owner == NULL) {
        if (read(0, buffer, sizeof buffer) <= 0) stopped = 1;
        continue;
      }
      if (owner >= (void *)listeners && owner < (void *)(listeners + 3)) {
        accept_all(owner);
        continue;
      }
      Connection *connection = owner;
      if (events[index].events & EPOLLOUT) send_pending(connection);
      if (!(events[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
      ssize_t length = recv(connection->fd, buffer, sizeof buffer, 0);
      if (length < 0 && errno == EAGAIN) continue;
      if (length <= 0 || take(connection, buffer, length) < 0) close_connection(connection);
    }
    send_due_events();
  }
  return 0;
}
