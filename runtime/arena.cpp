// arena.cpp: opening, shutting down and removing arenas.
//
// Opening: the file, the owner, the shared gate, the name again, every field, a member entry, and
// only then the gate's release. Whoever removes a name holds the gate exclusively.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include <lagoon/arena.hpp>

#include "arena_file.hpp"
#include "arena_request.hpp"
#include "attachment.hpp"
#include "construction.hpp"
#include "lanes.hpp"
#include "members.hpp"
#include "process_state.hpp"
#include "reap.hpp"
#include "worker.hpp"

namespace lagoon::inline v1::detail {

namespace {

/// Touches every page, so that later accesses do not fault. Best effort on old kernels.
bool prefault(std::byte* base, std::uint64_t bytes) noexcept {
#ifdef MADV_POPULATE_WRITE
    return ::madvise(base, bytes, MADV_POPULATE_WRITE) == 0;
#else
    (void)base;
    (void)bytes;
    return false;
#endif
}

}  // namespace

Attachment& adopt_mapping(const Request& request, os::Fd fd, std::byte* base, std::uint64_t bytes) {
    Attachment& attachment = *new_attachment();
    attachment.name = request.name;
    attachment.directory = request.directory;
    attachment.path = request.path;
    attachment.file = os::file_of(fd.get());
    attachment.creator = false;
    attachment.writable = true;
    attachment.want_keeper = request.options.keeper;
    attachment.prefaulted = request.options.prefault && prefault(base, bytes);
    // G11 release store -> G10, G11, G12. kept: what publishes the mapping comes behind it.
    attachment.fd.store(fd.release(), std::memory_order_release);
    publish_mapping(attachment, base, bytes);
    return attachment;
}

void abandon(Attachment& attachment) noexcept {
    leave_arena(attachment);
    forget_lanes(attachment);
    retire_mapping(attachment);
    // G12 acq_rel RMW <- G11. kept: nobody else has it yet.
    ::close(attachment.fd.exchange(-1, std::memory_order_acq_rel));
}

std::uint32_t lanes_of(const ArenaOptions& options) {
    return static_cast<std::uint32_t>(options.max_processes + options.max_threads);
}

namespace {

void require_same_struct(const Request& request, const Construction& scratch,
                         const std::byte* base) {
    const auto& header = *reinterpret_cast<const ArenaHeader*>(base);
    const auto& ours = scratch.directory();
    require_same_directory(request.name, ours.data(), ours.size(),
                           reinterpret_cast<const DirectoryEntry*>(base + header.directory_offset),
                           header.directory_count, "this program", "the arena");
    if (header.root_bytes != request.root.bytes) {
        throw Error{Errc::layout_mismatch, "arena '" + request.name + "': the struct has " +
                                               std::to_string(request.root.bytes) +
                                               " bytes in this program and " +
                                               std::to_string(header.root_bytes) + " in the arena"};
    }
    if (header.root_offset % std::max<std::uint64_t>(request.root.align, 1) != 0) {
        throw Error{Errc::layout_mismatch,
                    "arena '" + request.name + "': the struct is aligned differently"};
    }
}

/// Shut down, or a scoped arena that nobody is left in: it goes instead of being opened.
bool is_stale(int fd, const std::byte* base) {
    const auto& header = *reinterpret_cast<const ArenaHeader*>(base);
    if (is_shut_down(header)) return true;
    const auto* members = reinterpret_cast<const MemberEntry*>(base + header.members_offset);
    return (header.flags & flag_scoped) != 0 && life_of(fd, header, members) == Life::nobody;
}

/// Attaches to the file behind `fd`, under its shared gate. Null when the name has moved on, or
/// the arena is stale.
Attachment* open_file(const Request& request, const Construction* scratch, os::Fd& fd,
                      bool* stale) {
    const Gate gate{fd.get(), os::LockKind::shared, request.what};
    if (os::file_at(request.path) != os::file_of(fd.get())) return nullptr;
    const MappedFile file = map_arena_file(fd.get(), true, request.what);
    // One section of the lock from the look to the handle: two threads may open at one time.
    const ProcessLock lock;
    Attachment* attachment = nullptr;
    try {
        *stale = is_stale(fd.get(), file.base);
        if (*stale) {
            ::munmap(file.base, file.bytes);
            return nullptr;
        }
        if (scratch != nullptr) require_same_struct(request, *scratch, file.base);
        const auto& header = *reinterpret_cast<const ArenaHeader*>(file.base);
        if (Attachment* known = find_attachment(os::file_of(fd.get()), header.id)) {
            // B7 acquire load <- B6: a forked child that is no member yet chooses for itself. kept:
            // changed under the process lock only.
            if (known->member_state.load(std::memory_order_acquire) == 0) {
                known->want_keeper = request.options.keeper;
            }
            ensure_member_locked(*known);
            ++known->handles;
            if (request.options.prefault && !known->prefaulted) {
                known->prefaulted = prefault(known->at(0), known->header->arena_bytes);
            }
            ::munmap(file.base, file.bytes);
            return known;
        }
        attachment = &adopt_mapping(request, std::move(fd), file.base, file.bytes);
    } catch (...) {
        ::munmap(file.base, file.bytes);
        throw;
    }
    try {
        join_arena(*attachment);
    } catch (...) {
        abandon(*attachment);
        throw;
    }
    attachment->handles = 1;
    return attachment;
}

/// Null when there is no such arena (any more).
Attachment* try_open(const Request& request, const Construction* scratch) {
    for (int i = 0; i < name_attempts; ++i) {
        os::Fd fd = open_arena_file(request.path, true, request.what);
        if (!fd) return nullptr;
        require_owner(fd.get(), request.options.owner, request.what);
        bool stale = false;
        if (Attachment* attachment = open_file(request, scratch, fd, &stale)) return attachment;
        if (stale) (void)remove_name(request.path, fd.get(), false, request.what);
    }
    throw Error{Errc::busy, request.what + ": its name changed hands " +
                                std::to_string(name_attempts) + " times while it was being opened"};
}

Attachment* open(const Request& request, const Construction* scratch) {
    Attachment* attachment = try_open(request, scratch);
    if (attachment == nullptr) {
        throw Error{Errc::no_such_arena,
                    request.what + " does not exist: there is no " + request.path +
                        " with a living member; create it first, or see `lagoon ls`"};
    }
    return attachment;
}

Attachment* open_typed(const Request& request) {
    Construction scratch{request.root, lanes_of(request.options)};
    scratch.run(request.what);
    return open(request, &scratch);
}

Attachment* open_or_create(const Request& request, bool* created) {
    Construction scratch{request.root, lanes_of(request.options)};
    scratch.run(request.what);
    for (int i = 0; i < name_attempts; ++i) {
        *created = false;
        if (Attachment* attachment = try_open(request, &scratch)) return attachment;
        try {
            *created = true;
            return create_arena(request);
        } catch (const Error& error) {
            if (error.errc() != Errc::name_taken) throw;
        }
    }
    throw Error{Errc::busy, request.what + ": its name came and went " +
                                std::to_string(name_attempts) + " times"};
}

/// Before anything is computed from the numbers.
void require_lanes(const ArenaOptions& options, std::string_view name) {
    const std::uint64_t processes = options.max_processes;
    const std::uint64_t threads = options.max_threads;
    if (processes >= 1 && threads >= 1 && processes <= lane_limit &&
        threads <= lane_limit - processes) {
        return;
    }
    throw Error{Errc::invalid_argument,
                "arena '" + std::string{name} + "': max_processes (" + std::to_string(processes) +
                    ") and max_threads (" + std::to_string(threads) +
                    ") must each be at least 1 and together at most " + std::to_string(lane_limit)};
}

Request make_request(std::string_view name, const ArenaOptions& options, const RootType& root) {
    require_started_properly();
    require_arena_name(name);
    require_lanes(options, name);
    prepare_process();
    const std::string directory = arena_directory(options.directory);
    return {std::string{name},
            directory,
            arena_path(directory, name),
            "arena '" + std::string{name} + "'",
            options,
            root};
}

}  // namespace

Attachment* attach_untyped(std::string_view name, const ArenaOptions& options, Reaped* repaired) {
    const RootType any;
    const Request request = make_request(name, options, any);
    Attachment* attachment = open(request, nullptr);
    const Reaped done = repair_the_dead(*attachment);
    if (repaired != nullptr) *repaired += done;
    return attachment;
}

Attachment* attach(OpenMode mode, std::string_view name, const ArenaOptions& options,
                   const RootType& root, bool* created) {
    const Request request = make_request(name, options, root);
    bool dummy = false;
    bool& made = created != nullptr ? *created : dummy;
    Attachment* attachment = nullptr;
    switch (mode) {
        case OpenMode::create: made = true; return create_arena(request);
        case OpenMode::open:
            made = false;
            attachment = open_typed(request);
            break;
        case OpenMode::open_or_create: attachment = open_or_create(request, &made); break;
    }
    if (!made) (void)repair_the_dead(*attachment);
    return attachment;
}

Outcome shut_down(Attachment* attachment, ShutDown mode, const Patience& patience) {
    ensure_member(attachment);
    const auto each_pool = [&](auto&& act) {
        attachment->for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
            act(*reinterpret_cast<PoolObject*>(object));
        });
    };
    // The state comes first: killed behind it, whoever repairs after us closes the pools, and
    // whoever comes by the name removes it.
    // Q1 release store -> Q2, E4. kept: a flag alone.
    attachment->header->state.store(1, std::memory_order_release);
    // Everything is closed and everybody told before a hook runs or anything is waited for: who has
    // to give back here may be waiting there.
    each_pool([](PoolObject& pool) { tell_closed(pool); });
    attachment->for_each(Kind::lock, [](const DirectoryEntry&, std::byte* object) {
        wake_lock(*reinterpret_cast<Atomic<std::uint64_t>*>(object));
    });
    attachment->for_each(Kind::value, [](const DirectoryEntry&, std::byte* object) {
        wake(reinterpret_cast<ValueCore*>(object)->event, everybody);
    });
    each_pool([](PoolObject& pool) { pool_clear(pool); });
    (void)repair_the_dead(*attachment);
    Outcome outcome = Outcome::ok;
    each_pool([&](PoolObject& pool) {
        if (mode == ShutDown::drain && outcome == Outcome::ok)
            outcome = await_returns(pool, patience);
        pool_clear(pool);
    });
    const int fd = sound_fd(*attachment);
    if (fd >= 0) (void)remove_name(attachment->path, fd, true, "arena '" + attachment->name + "'");
    return outcome;
}

}  // namespace lagoon::inline v1::detail

namespace lagoon::inline v1 {

bool remove(std::string_view name, const OpenOptions& options) {
    detail::require_started_properly();
    detail::require_arena_name(name);
    const std::string path = detail::arena_path(detail::arena_directory(options.directory), name);
    const std::string what = "arena '" + std::string{name} + "'";
    for (int i = 0; i < detail::name_attempts; ++i) {
        const os::Fd fd = detail::open_arena_file(path, true, what);
        if (!fd) return false;
        detail::require_owner(fd.get(), options.owner, what);
        if (detail::remove_name(path, fd.get(), true, what)) return true;
    }
    throw Error{Errc::busy, what + ": its name changed hands while it was being removed"};
}

bool remove(std::string_view name) { return remove(name, OpenOptions{}); }
bool remove(const char* name) { return remove(std::string_view{name}); }

}  // namespace lagoon::inline v1
