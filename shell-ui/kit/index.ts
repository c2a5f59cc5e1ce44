// Percloud's design system: the shell's, and that of every app that belongs to it. Knows no addresses and no server;
// all words come from the caller.

export * from "./AppIcon.tsx";
export * from "./Button.tsx";
export * from "./Choices.tsx";
export * from "./CopyField.tsx";
export * from "./Dialog.tsx";
export * from "./Menu.tsx";
export * from "./Progress.tsx";
export * from "./Surface.tsx";
export * from "./TextField.tsx";
export * from "./Toast.tsx";
export * from "./icons.tsx";
