/* Giving memory back: see memory.h. Only segments of a file that were never writable are let go
 * of: what the loader has relocated would be lost. */
#include "daemon/memory.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where the loader relocates even what is not writable. */
static bool relocates_text(const struct dl_phdr_info *object)
{
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];

        if (header->p_type != PT_DYNAMIC)
            continue;
        for (const ElfW(Dyn) *entry =
                 (const ElfW(Dyn) *) (uintptr_t) (object->dlpi_addr + header->p_vaddr);
             entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == DT_TEXTREL ||
                (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL))
                return true;
    }
    return false;
}

static int give_back_object(struct dl_phdr_info *object, size_t bytes, void *user)
{
    const uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);
    bool from_file = object->dlpi_name[0] == 0 || strchr(object->dlpi_name, '/') != NULL;

    (void) bytes;
    (void) user;
    if (!from_file || relocates_text(object))
        return 0;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        uintptr_t from = (uintptr_t) (object->dlpi_addr + header->p_vaddr);
        uintptr_t to = from + header->p_filesz;

        if (header->p_type != PT_LOAD || header->p_flags & PF_W)
            continue;
        from = (from + page - 1) & ~(page - 1); /* whole pages: a neighbour's may be writable */
        to &= ~(page - 1);
        if (from < to)
            (void) madvise((void *) from, to - from, MADV_DONTNEED); /* refused where locked */
    }
    return 0;
}

void memory_give_back(void)
{
    (void) malloc_trim(0);
    (void) dl_iterate_phdr(give_back_object, NULL);
}
