// error.hpp: what goes wrong while something is set up, and how it is told.
//
//   Shape      `Error` derives from std::system_error, category "lagoon"
//   Errors     every code that is thrown has a test that provokes it
//
// Set-up calls throw `Error`; its text names the object, what was expected, what was found and
// what to do. Ordinary outcomes are return values; a broken contract prints and aborts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <system_error>

namespace lagoon::inline v1 {

enum class Errc {
    bad_name = 1,           ///< an arena or member name with a character that is not allowed
    name_taken,             ///< a living arena has this name, or a member has it already
    no_such_arena,          ///< nothing of this name, or only what dead processes left
    not_permitted,          ///< the file belongs to somebody else, or its mode forbids it
    not_an_arena,           ///< the file is something else
    version_mismatch,       ///< made by another version of the file format
    corrupt,                ///< truncated, or a field that cannot be
    layout_mismatch,        ///< the program's struct differs from the arena's
    bad_layout,             ///< a struct that cannot be an arena's root
    no_space,               ///< the tmpfs or the memory cgroup cannot hold it
    too_many_processes,     ///< every member entry is taken
    too_many_objects,       ///< more arenas than one process can have open
    too_large,              ///< a value, text or argument over its limit
    out_of_range,           ///< an index at or past the end
    invalid_argument,       ///< an option that cannot be
    busy,                   ///< the gate was not free by the deadline, or threads still wait
    closed,                 ///< this handle, or the arena, was closed
    leases_outstanding,     ///< closing while leases are out; `count()` says how many
    not_found,              ///< no member of this name
    not_supported,          ///< the kernel or a sandbox lacks or refuses something needed
    spawn_failed,           ///< a process could not be started
    run_if_worker_missing,  ///< `main` does not begin with `run_if_worker`
    worker_never_attached,  ///< a worker ended before it reached the arena
    unknown_function,       ///< the worker's program does not have this function
    task_failed,            ///< a function of a worker threw; not thrown yet
    system                  ///< anything else that the kernel refused; see `os_error()`
};

/// The category of every `Errc`; its name is "lagoon".
const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}
inline std::error_condition make_error_condition(Errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}

class Error : public std::system_error {
public:
    /// `text` is the whole message; `os_error` the errno behind it or 0; `count` a number
    /// that the code promises (leases outstanding) or 0.
    Error(Errc code, const std::string& text, int os_error = 0, std::uint64_t count = 0);
    ~Error() override;

    [[nodiscard]] const char* what() const noexcept override { return text_->c_str(); }
    [[nodiscard]] Errc errc() const noexcept { return static_cast<Errc>(code().value()); }
    [[nodiscard]] int os_error() const noexcept { return os_error_; }
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

private:
    std::shared_ptr<const std::string> text_;  // shared: copying an exception must not throw
    int os_error_;
    std::uint64_t count_;
};

/// Called with the message of a broken contract, just before the process aborts.
using ContractHandler = void (*)(const char* message) noexcept;

/// Replaces the handler that prints the message to stderr; returns the one before.
ContractHandler set_contract_handler(ContractHandler handler) noexcept;

namespace detail {
/// A broken contract: tells the handler and aborts, in every build.
[[noreturn, gnu::cold, gnu::format(printf, 1, 2)]] void contract_failure(const char* format,
                                                                         ...) noexcept;
}  // namespace detail

}  // namespace lagoon::inline v1

template <>
struct std::is_error_code_enum<lagoon::Errc> : std::true_type {};
template <>
struct std::is_error_condition_enum<lagoon::Errc> : std::false_type {};
