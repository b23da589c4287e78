// The flight recorder's programs: who ran, who was off the CPU and why, under which span.
//
// on the CPU   perf_event, per-CPU clock: stack and span of whoever is interrupted
// off the CPU  sched_switch keeps the time (0.3 us); the stack is taken once, later: at sys_exit for who
//              slept in a system call, at the switch itself for who was preempted or slept in a page fault
// lifetime     exec, fork, exit of processes
// one function uprobe and uretprobe, for `profile attach`
//
// User space says in `procs` what is known of a process and in `settings` what is wanted.
// `struct event` is src/kernel/wire.rs; change both, sizes are asserted there.
#include "mini.h"

enum kind { ON_CPU = 1, BLOCKED = 2, LEFT = 3, RESUMED = 4, EXEC = 5, EXIT = 6, FORK = 7, CALL = 8, RETURN = 9 };
enum event_flag { TAGGED = 1, BURST_RATE = 4 };
enum proc_flag { HAS_CONTEXT = 1, BY_DTV = 2, SNAPSHOT = 4, WATCHED = 8, BURSTING = 16, KEEP_UNTAGGED = 32 };
enum setting { OFF_CPU = 1, ONLY_WATCHED = 2 };
enum count { LOST = 0, EVENTS = 1, COUNTS = 2 };

enum { USER_FRAMES = 127, KERNEL_FRAMES = 64, FRAMES_ROOM = 2048, SNAPSHOT_BYTES = 16384, PF_KTHREAD = 0x00200000 };

struct tag {
    u8 trace_id[16];
    u8 span_id[8];
};

struct event {
    u64 at, off_ns, wait_ns;
    u64 ip, sp, bp;
    u32 tgid, tid;
    u8 kind, flags;
    s16 syscall;
    u16 user_frames, kernel_frames;
    u32 stack_bytes, spare;
    struct tag tag;
    char comm[16];
};

struct scratch {
    struct event event;
    u8 body[FRAMES_ROOM + SNAPSHOT_BYTES];
};

struct proc {
    s64 tls_offset; // from the thread pointer, or within the module's block
    u32 tls_module; // with BY_DTV
    u32 flags;
};

struct thread {
    u64 off_at, woken_at; // since when it is off the CPU, and runnable again
    u64 off_ns, wait_ns;  // not told yet
    u64 arrived_at;       // when that ended
    u64 told_at;          // when its stack was last taken
    u64 slept_at;         // when the stack of a sleep was last taken, in this span
    u8 is_blocked, is_tagged, is_fresh, has_left, is_pending, spare[3];
    struct tag tag; // as it left the CPU
};

struct settings {
    u64 off_min_ns, gap_ns;
    u32 flags, spare;
};

struct {
    __uint(type, MAP_RINGBUF);
    __uint(max_entries, 8 << 20);
} events SEC(".maps");

struct {
    __uint(type, MAP_HASH);
    __uint(max_entries, 16384);
    __type(key, u32);
    __type(value, struct proc);
} procs SEC(".maps");

struct {
    __uint(type, MAP_TASK_STORAGE);
    __uint(map_flags, NO_PREALLOC);
    __type(key, int);
    __type(value, struct thread);
} threads SEC(".maps");

// One for each kind of program: they may interrupt each other.
struct {
    __uint(type, MAP_PERCPU_ARRAY);
    __uint(max_entries, 4);
    __type(key, u32);
    __type(value, struct scratch);
} scratches SEC(".maps");

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct settings);
} settings SEC(".maps");

struct {
    __uint(type, MAP_PERCPU_ARRAY);
    __uint(max_entries, COUNTS);
    __type(key, u32);
    __type(value, u64);
} counts SEC(".maps");

// A probed function's call of one thread.
struct call {
    u64 begun;   // 0 between calls
    u64 told_at; // when its stack was last taken
};

struct {
    __uint(type, MAP_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, u64);
    __type(value, struct call);
} calls SEC(".maps");

ALWAYS void count(u32 which)
{
    u64 *counter = bpf_map_lookup_elem(&counts, &which);
    if (counter)
        *counter += 1;
}

ALWAYS void send(void *bytes, u64 size)
{
    count(EVENTS);
    if (bpf_ringbuf_output(&events, bytes, size, RINGBUF_NO_WAKEUP) < 0)
        count(LOST);
}

ALWAYS struct settings *wanted(void)
{
    u32 zero = 0;
    return bpf_map_lookup_elem(&settings, &zero);
}

// The span that the thread says it runs (OTEP 4947). Only while the thread cannot go on writing.
ALWAYS int read_tag(struct proc *proc, u64 thread_pointer, struct tag *tag)
{
    if (!proc || !(proc->flags & HAS_CONTEXT) || !thread_pointer)
        return 0;
    u64 variable = thread_pointer + proc->tls_offset, record = 0;
    if (proc->flags & BY_DTV) {
        u64 dtv = 0, block = 0;
        if (bpf_probe_read_user(&dtv, 8, (void *)(thread_pointer + 8)) || !dtv)
            return 0;
        if (bpf_probe_read_user(&block, 8, (void *)(dtv + 16 * (u64)proc->tls_module)) || !block || block == ~0ULL)
            return 0;
        variable = block + proc->tls_offset;
    }
    if (bpf_probe_read_user(&record, 8, (void *)variable) || !record)
        return 0;
    struct {
        struct tag tag;
        u8 valid, trace_flags;
        u16 attributes;
    } context;
    if (bpf_probe_read_user(&context, sizeof(context), (void *)record) || context.valid != 1)
        return 0;
    *tag = context.tag;
    return 1;
}

ALWAYS int is_same(struct tag *a, struct tag *b)
{
    u64 *left = (u64 *)a, *right = (u64 *)b;
    return left[0] == right[0] && left[1] == right[1] && left[2] == right[2];
}

// Fills in user and kernel frames and, where asked, the bytes of the stack; gives the whole size.
ALWAYS u64 take_stack(void *ctx, struct scratch *scratch, struct task_struct *task, u64 snapshot)
{
    struct event *event = &scratch->event;
    struct pt_regs *regs = bpf_task_pt_regs(task);
    event->ip = regs->ip;
    event->sp = regs->sp;
    event->bp = regs->bp;
    event->syscall = (s16)regs->orig_ax;
    long user = bpf_get_stack(ctx, scratch->body, USER_FRAMES * 8, USER_STACK);
    if (user < 0)
        user = 0;
    u64 used = (u64)user & 1023;
    event->user_frames = used / 8;
    long kernel = bpf_get_stack(ctx, scratch->body + used, KERNEL_FRAMES * 8, 0);
    if (kernel < 0)
        kernel = 0;
    event->kernel_frames = ((u64)kernel & 1023) / 8;
    used += (u64)kernel & 1023;
    used &= FRAMES_ROOM - 1;
    u64 bytes = 0;
    if (snapshot) {
#pragma unroll
        for (int step = 0; step < SNAPSHOT_BYTES / 4096; step++) {
            if (bpf_probe_read_user(scratch->body + used + step * 4096, 4096, (void *)(event->sp + step * 4096)))
                break;
            bytes = (step + 1) * 4096;
        }
        if (bytes < SNAPSHOT_BYTES) {
            // The last page of the stack: up to its end.
#pragma unroll
            for (int step = 0; step < 7; step++) {
                bytes &= SNAPSHOT_BYTES - 1;
                if (bpf_probe_read_user(scratch->body + used + bytes, 512, (void *)(event->sp + bytes)))
                    break;
                bytes += 512;
            }
        }
    }
    event->stack_bytes = bytes;
    return sizeof(struct event) + used + bytes;
}

ALWAYS struct scratch *begin(u32 which, u8 kind, struct task_struct *task)
{
    struct scratch *scratch = bpf_map_lookup_elem(&scratches, &which);
    if (!scratch)
        return 0;
    struct event *event = &scratch->event;
    event->at = bpf_ktime_get_ns();
    event->off_ns = event->wait_ns = 0;
    event->tgid = task->tgid;
    event->tid = task->pid;
    event->kind = kind;
    event->flags = 0;
    event->user_frames = event->kernel_frames = 0;
    event->stack_bytes = event->spare = 0;
    return scratch;
}

ALWAYS void finish(struct scratch *scratch, u64 size)
{
    bpf_get_current_comm(scratch->event.comm, sizeof(scratch->event.comm));
    if (size > sizeof(struct scratch))
        return;
    send(scratch, size);
}

ALWAYS int sample(void *ctx, u8 is_burst)
{
    struct task_struct *task = bpf_get_current_task_btf();
    u32 tgid = task->tgid;
    if (!tgid || (task->flags & PF_KTHREAD))
        return 0;
    struct settings *settings = wanted();
    struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);
    if (!settings || (!proc && (settings->flags & ONLY_WATCHED)))
        return 0;
    if (proc && (settings->flags & ONLY_WATCHED) && !(proc->flags & WATCHED))
        return 0;
    if (!is_burst && proc && (proc->flags & BURSTING))
        return 0;
    struct scratch *scratch = begin(0, ON_CPU, task);
    if (!scratch)
        return 0;
    struct event *event = &scratch->event;
    if (read_tag(proc, task->thread.fsbase, &event->tag))
        event->flags |= TAGGED;
    if (is_burst)
        event->flags |= BURST_RATE;
    struct thread *thread = bpf_task_storage_get(&threads, task, 0, 0);
    if (thread) {
        thread->told_at = event->at;
        // This span has a stack now.
        if (thread->is_tagged == (event->flags & TAGGED) && is_same(&thread->tag, &event->tag))
            thread->is_fresh = 0;
    }
    finish(scratch, take_stack(ctx, scratch, task, proc && (proc->flags & SNAPSHOT)));
    return 0;
}

SEC("perf_event")
int on_tick(void *ctx)
{
    return sample(ctx, 0);
}

SEC("perf_event")
int on_burst(void *ctx)
{
    return sample(ctx, 1);
}

// Time without a stack of its own goes to the last one of the same span; user space knows which.
ALWAYS void tell_time(struct task_struct *task, struct thread *thread, u64 off_ns, u64 wait_ns)
{
    struct event event = {};
    event.at = thread->arrived_at;
    event.off_ns = off_ns;
    event.wait_ns = wait_ns;
    event.tgid = task->tgid;
    event.tid = task->pid;
    event.kind = RESUMED;
    event.flags = thread->is_tagged ? TAGGED : 0;
    event.tag = thread->tag;
    send(&event, sizeof(event));
}

ALWAYS void leave(u64 *ctx, struct task_struct *task, u8 preempted, struct settings *settings)
{
    u32 tgid = task->tgid;
    struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);
    if (!proc || !(proc->flags & WATCHED))
        return;
    struct thread *thread = bpf_task_storage_get(&threads, task, 0, STORAGE_CREATE);
    if (!thread)
        return;
    struct tag tag = {};
    u8 is_tagged = read_tag(proc, task->thread.fsbase, &tag);
    if (is_tagged != thread->is_tagged || !is_same(&tag, &thread->tag)) {
        if (thread->wait_ns > 100000 || thread->off_ns > 100000)
            tell_time(task, thread, thread->off_ns, thread->wait_ns);
        thread->off_ns = thread->wait_ns = 0;
        thread->slept_at = 0;
        thread->is_tagged = is_tagged;
        thread->tag = tag;
        thread->is_fresh = 1;
    }
    thread->is_pending = 0;
    if ((proc->flags & HAS_CONTEXT) && !is_tagged && !(proc->flags & KEEP_UNTAGGED)) {
        thread->off_at = 0;
        return;
    }
    u64 now = bpf_ktime_get_ns();
    thread->off_at = now;
    thread->woken_at = 0;
    thread->is_blocked = !preempted && task->__state;
    struct pt_regs *regs = bpf_task_pt_regs(task);
    if (thread->is_blocked && (s64)regs->orig_ax >= 0)
        return;
    if (!thread->is_fresh && now - thread->told_at < settings->gap_ns)
        return;
    struct scratch *scratch = begin(1, LEFT, task);
    if (!scratch)
        return;
    struct event *event = &scratch->event;
    event->flags = is_tagged ? TAGGED : 0;
    event->tag = tag;
    thread->told_at = now;
    thread->is_fresh = 0;
    thread->has_left = 1;
    finish(scratch, take_stack(ctx, scratch, task, proc->flags & SNAPSHOT));
}

ALWAYS void arrive(struct task_struct *task, struct settings *settings)
{
    struct thread *thread = bpf_task_storage_get(&threads, task, 0, 0);
    if (!thread || !thread->off_at)
        return;
    u64 now = bpf_ktime_get_ns(), woken = thread->off_at;
    if (thread->is_blocked)
        woken = thread->woken_at > thread->off_at ? thread->woken_at : now;
    thread->off_ns += woken - thread->off_at;
    thread->wait_ns += now - woken;
    thread->arrived_at = now;
    thread->off_at = 0;
    if (thread->has_left) {
        thread->has_left = 0;
        tell_time(task, thread, thread->off_ns, thread->wait_ns);
        thread->off_ns = thread->wait_ns = 0;
        return;
    }
    if (thread->is_blocked && thread->off_ns + thread->wait_ns >= settings->off_min_ns)
        thread->is_pending = now - thread->slept_at >= settings->gap_ns;
}

SEC("tp_btf/sched_switch")
int on_switch(u64 *ctx)
{
    struct settings *settings = wanted();
    if (!settings || !(settings->flags & OFF_CPU))
        return 0;
    struct task_struct *previous = (struct task_struct *)ctx[1];
    struct task_struct *next = (struct task_struct *)ctx[2];
    if (previous->pid)
        leave(ctx, previous, ctx[0] & 1, settings);
    if (next->pid)
        arrive(next, settings);
    return 0;
}

SEC("tp_btf/sched_wakeup")
int on_wakeup(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[0];
    struct thread *thread = bpf_task_storage_get(&threads, task, 0, 0);
    if (thread && thread->off_at && !thread->woken_at)
        thread->woken_at = bpf_ktime_get_ns();
    return 0;
}

SEC("raw_tp/sys_exit")
int on_sys_exit(void *ctx)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct thread *thread = bpf_task_storage_get(&threads, task, 0, 0);
    if (!thread || !thread->is_pending)
        return 0;
    thread->is_pending = 0;
    struct scratch *scratch = begin(2, BLOCKED, task);
    if (!scratch)
        return 0;
    struct event *event = &scratch->event;
    event->off_ns = thread->off_ns;
    event->wait_ns = thread->wait_ns;
    event->flags = thread->is_tagged ? TAGGED : 0;
    event->tag = thread->tag;
    thread->off_ns = thread->wait_ns = 0;
    thread->told_at = thread->slept_at = event->at;
    thread->is_fresh = 0;
    u32 tgid = task->tgid;
    struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);
    // The C library, in which nearly everybody sleeps, has no frame pointers: never without the bytes.
    u64 size = take_stack(ctx, scratch, task, 1);
    finish(scratch, size);
    return 0;
}

ALWAYS void tell_life(struct task_struct *task, u8 kind, u64 other)
{
    struct event event = {};
    event.at = bpf_ktime_get_ns();
    event.tgid = task->tgid;
    event.tid = task->pid;
    event.kind = kind;
    event.off_ns = other;
    bpf_get_current_comm(event.comm, sizeof(event.comm));
    send(&event, sizeof(event));
}

SEC("tp_btf/sched_process_exec")
int on_exec(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[0];
    // Another program: what was known of this one is wrong from here on.
    u32 tgid = task->tgid;
    bpf_map_delete_elem(&procs, &tgid);
    tell_life(task, EXEC, 0);
    return 0;
}

SEC("tp_btf/sched_process_fork")
int on_fork(u64 *ctx)
{
    struct task_struct *parent = (struct task_struct *)ctx[0];
    struct task_struct *child = (struct task_struct *)ctx[1];
    u32 from = parent->tgid, to = child->tgid;
    if (from == to)
        return 0;
    struct proc *proc = bpf_map_lookup_elem(&procs, &from);
    if (!proc)
        return 0;
    struct proc copy = *proc;
    copy.flags &= ~BURSTING;
    bpf_map_update_elem(&procs, &to, &copy, 0);
    tell_life(child, FORK, from);
    return 0;
}

SEC("tp_btf/sched_process_exit")
int on_exit(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[0];
    u32 tgid = task->tgid;
    if (task->pid != task->tgid || !bpf_map_lookup_elem(&procs, &tgid))
        return 0;
    tell_life(task, EXIT, 0);
    return 0;
}

SEC("uprobe")
int on_call(void *ctx)
{
    u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
    struct task_struct *task = bpf_get_current_task_btf();
    struct settings *settings = wanted();
    struct call *known = bpf_map_lookup_elem(&calls, &id), call = {.begun = now};
    call.told_at = known ? known->told_at : 0;
    // Every call is timed; a stack in a while stands for those after it. Copying stacks would be what is measured.
    int is_due = !settings || now - call.told_at >= settings->gap_ns;
    if (is_due)
        call.told_at = now;
    bpf_map_update_elem(&calls, &id, &call, 0);
    if (!is_due)
        return 0;
    struct scratch *scratch = begin(3, CALL, task);
    if (!scratch)
        return 0;
    u32 tgid = task->tgid;
    struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);
    if (read_tag(proc, task->thread.fsbase, &scratch->event.tag))
        scratch->event.flags |= TAGGED;
    finish(scratch, take_stack(ctx, scratch, task, 1));
    return 0;
}

SEC("uretprobe")
int on_return(void *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    struct call *call = bpf_map_lookup_elem(&calls, &id);
    if (!call || !call->begun)
        return 0;
    u64 took = bpf_ktime_get_ns() - call->begun;
    call->begun = 0;
    struct task_struct *task = bpf_get_current_task_btf();
    tell_life(task, RETURN, took);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
