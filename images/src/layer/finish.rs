//! The directories of an image, when everything else is in it.

use std::io;

use super::tree::{Node, ROOT, Tree};
use crate::erofs::{self, DirectoryEntry, Writer, file_type};

/// Writes all directories and numbers of links.
pub(super) fn write_directories(mut tree: Tree, writer: &mut Writer<'_>) -> io::Result<()> {
    tree.seal();
    let tree = &tree;
    let order = order(tree);
    let mut inodes = vec![0; tree.directories()];
    inodes[ROOT as usize] = erofs::ROOT;
    let mut plan = writer.plan();
    for index in &order {
        let entries = entries(tree, *index, &inodes);
        inodes[*index as usize] = plan.directory(&tree.meta(*index), &entries);
    }
    for index in &order {
        let entries = entries(tree, *index, &inodes);
        let inode = writer.directory(&tree.meta(*index), &entries, links(&entries))?;
        debug_assert_eq!(inode, inodes[*index as usize]);
    }
    let entries = entries(tree, ROOT, &inodes);
    writer.root_directory(&tree.meta(ROOT), &entries, links(&entries))?;
    for leaf in tree.leaves().iter().filter(|leaf| leaf.links > 1) {
        writer.set_links(leaf.inode, leaf.links)?;
    }
    Ok(())
}

/// All directories that have a name, without the root, each before what is in it.
fn order(tree: &Tree) -> Vec<u32> {
    let mut order = Vec::new();
    let mut waiting = vec![ROOT];
    while let Some(index) = waiting.pop() {
        if index != ROOT {
            order.push(index);
        }
        waiting.extend(tree.children(index).filter_map(|(_, node)| match node {
            Node::Directory(child) => Some(child),
            Node::Leaf(_) => None,
        }));
    }
    order
}

/// The entries of a directory in their order, `.` and `..` in their places among them.
fn entries<'a>(tree: &'a Tree, index: u32, inodes: &[u64]) -> Vec<DirectoryEntry<'a>> {
    let mode = file_type::DIRECTORY;
    let directory = |name, index: u32| DirectoryEntry {
        name,
        inode: inodes[index as usize],
        mode,
    };
    let mut entries = vec![
        directory(b".", index),
        directory(b"..", tree.parent_of(index)),
    ];
    entries.extend(tree.children(index).map(|(name, node)| match node {
        Node::Directory(child) => directory(name, child),
        Node::Leaf(leaf) => {
            let leaf = tree.leaf(leaf);
            DirectoryEntry {
                name,
                inode: leaf.inode,
                mode: leaf.mode,
            }
        }
    }));
    entries.sort_unstable_by_key(|entry| entry.name);
    entries
}

/// Itself, its name and the `..` of each directory in it.
fn links(entries: &[DirectoryEntry<'_>]) -> u32 {
    let count = entries
        .iter()
        .filter(|entry| entry.mode & file_type::MASK == file_type::DIRECTORY);
    u32::try_from(count.count()).expect("far fewer nodes are allowed")
}
